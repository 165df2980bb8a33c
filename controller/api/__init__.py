"""The REST API: a thin face over the running controller (``service.Service``) and the durable store.

Import ``controller.api.app.create_app``; nothing is imported here, so that what needs only a part stays light.
"""
