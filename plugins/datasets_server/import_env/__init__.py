"""The import of the environment variables of the CronJob that this replaces."""
