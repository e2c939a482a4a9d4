"""Whether what an endpoint serves now is a model that somebody admitted."""

import time
from collections.abc import Sequence
from threading import Lock

from activities.inference.client import Model
from activities.inference.models_file import Endpoint
from activities.inference.served import UnreadableWeightsError, difference, served_model
from workflows.contracts.model import ModelAdmission, ServedModel

MEASURED_FOR_S = 600.0
"""How long answers to the fixed prompts speak for a server; files that it vouches for are looked at each time."""


class AdmissionCheck:
    """One process's look at what endpoints serve."""

    def __init__(self) -> None:
        self._measured: dict[Endpoint, tuple[float, ServedModel]] = {}
        self._lock = Lock()

    def problem(self, endpoint: Endpoint, model: Model, admitted: Sequence[ModelAdmission]) -> str:
        """Why the endpoint's model is not one of the admitted ones; empty when it is.

        Raises:
            ModelError: the server does not answer.
        """
        named = [item for item in admitted if item.served.model == endpoint.model]
        if not named:
            return f"nobody has admitted a model called {endpoint.model}"
        try:
            served = self._served(endpoint, model)
        except UnreadableWeightsError as error:
            return str(error)
        differences = [difference(item.served, served) for item in named]
        return "" if "" in differences else differences[0]

    def _served(self, endpoint: Endpoint, model: Model) -> ServedModel:
        with self._lock:
            at, known = self._measured.get(endpoint, (0.0, None))
        if known is not None and time.monotonic() - at < MEASURED_FOR_S:
            return known
        served = served_model(model, endpoint.weights)
        if served.answers:
            with self._lock:
                self._measured[endpoint] = (time.monotonic(), served)
        return served
