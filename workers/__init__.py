"""The Celery application: thin tasks over the use cases."""
