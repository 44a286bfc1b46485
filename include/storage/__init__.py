"""The only room that knows S3 and folders."""
