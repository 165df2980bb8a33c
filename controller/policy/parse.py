"""A JSON-able document becomes a policy, or an error that says where it failed."""

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from controller.policy.model import Policy
from controller.policy.problems import Location, PolicyError, Problem, from_pydantic


def parse_policy(document: object) -> Policy:
    """Return the policy that a document (mappings, lists, text, numbers) describes.

    Raises:
        PolicyError: with every problem of the first kind found (values, then references).
    """
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        raise PolicyError(problems_of(error, Policy)) from None
    except RecursionError:
        raise PolicyError([Problem((), "is nested too deeply")]) from None


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Word the errors of validating ``model``."""
    return [from_pydantic(found, _fields_at(model, found["loc"][:-1])) for found in error.errors(include_url=False)]


def _fields_at(model: type[BaseModel], location: Location) -> Iterable[str]:
    """Names of the fields of the model that stands at a location below ``model``."""
    for key in location:
        field = model.model_fields.get(str(key))
        if field is not None:
            model = _model_in(field.annotation) or model
    return model.model_fields


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Find the model inside an annotation such as ``Mapping[Name, Pool]`` or ``HealthCheck | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)
