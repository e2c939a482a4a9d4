"""The language models of an installation: those of its file, and the embedded one while it is served."""

from datetime import timedelta

from activities.inference.models_file import Endpoint, Models, read_models
from infra.embedded_model import NAME, SLOTS, served_address
from infra.settings import Settings

EMBEDDED = "embedded"


def known_models(settings: Settings) -> Models:
    """Endpoints and rules as they are now.

    Raises:
        ModelsFileError: the models file cannot be used.
    """
    models = read_models(settings.models_file)
    address = served_address(settings.data_dir)
    if address is None or any(item.name == EMBEDDED for item in models.endpoints):
        return models
    embedded = Endpoint.model_validate(
        {
            "name": EMBEDDED,
            "url": address,
            "model": NAME,
            "cleared": "T5",
            "at_once": SLOTS,
            "timeout": timedelta(minutes=5),
        }
    )
    return models.model_copy(update={"endpoints": (*models.endpoints, embedded)})
