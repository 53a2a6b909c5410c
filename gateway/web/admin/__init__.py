"""The admin listener: the Contacts API in Intercom's shape, behind access tokens, and its OpenAPI document."""
