"""What can go wrong with documents; each says what to do."""


class DocumentError(Exception):
    """A document cannot be taken into the library. The others of its source are; this one is counted and named."""

    def __init__(self, location: str, problem: str, advice: str) -> None:
        super().__init__(f"{location} {problem}. {advice}")
        self.location = location
        self.problem = problem
        self.advice = advice


class EmbedderError(Exception):
    """Texts could not be embedded: the endpoint is away, or answered something else than vectors."""
