"""A reference to a credential: what settings and files may hold in place of the credential itself."""

import base64
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST_SECRET = 16_384
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")


class CredentialError(Exception):
    """A credential cannot be read. The message names the reference, never the credential."""


class CredentialReference(BaseModel):
    """A bearer token or, with a user, a password; read anew each time it is used, so that rotation is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Path | None = None
    """File that holds it, as Kubernetes and Vault agents mount them."""

    variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable of the worker that holds it."""

    user: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f:]+$")] | None = None
    """User of basic authentication; without one it is a bearer token."""

    @model_validator(mode="after")
    def _names_one_place(self) -> "CredentialReference":
        if (self.file is None) == (self.variable is None):
            raise ValueError("name either the file or the variable that holds the credential")
        return self

    def read(self) -> str:
        """The secret itself.

        Raises:
            CredentialError: it is missing, empty, or nothing that fits into a header.
        """
        where = f"file {self.file}" if self.file is not None else f"variable {self.variable}"
        try:
            text = (
                self.file.read_bytes()[: LONGEST_SECRET + 1].decode().strip()
                if self.file is not None
                else os.environ.get(self.variable or "", "").strip()
            )
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(f"the credential in {where} cannot be read ({type(error).__name__})") from error
        if not text or len(text) > LONGEST_SECRET or _UNFIT.search(text):
            raise CredentialError(f"the {where} holds no usable credential: one line is expected")
        return text

    def header(self) -> str:
        """The value of the `Authorization` header.

        Raises:
            CredentialError: the credential cannot be used.
        """
        secret = self.read()
        if self.user is None:
            return f"Bearer {secret}"
        return "Basic " + base64.b64encode(f"{self.user}:{secret}".encode()).decode()
