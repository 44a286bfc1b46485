"""The storages of the files that dataset pages show, in folders or in S3."""
