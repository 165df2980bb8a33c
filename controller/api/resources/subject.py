"""How the routes of one subject are gathered: under ``/v1``, with every error a problem document."""

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

_ERRORS = ("400", "401", "403", "404", "408", "409", "412", "413", "415", "422", "429", "503")
_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def subject(name: str, path: str = "") -> APIBlueprint:
    """Make the blueprint of a subject; operations are called as their functions."""
    return APIBlueprint(
        name,
        f"controller.api.resources.{name}",
        url_prefix=f"/v1{path}",
        abp_tags=[Tag(name=name)],
        abp_responses={status: {"content": _CONTENT} for status in _ERRORS},
        operation_id_callback=_function_name,
    )


def _function_name(*, name: str, **_: Any) -> str:
    return name
