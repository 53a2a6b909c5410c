"""The Contacts API as an OpenAPI 3.1 document: a noun a file, named as its `*_api.py` is."""
