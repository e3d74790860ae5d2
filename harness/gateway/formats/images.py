"""Inline images as data URLs."""

from __future__ import annotations

import re

from harness.gateway.dialogue import Image, Untranslatable
from harness.gateway.formats.fields import Field

_DATA = re.compile(r"data:(image/[\w.+-]+);base64,", re.ASCII)


def read_data_url(url: Field) -> Image:
    """Return the image of a data URL.

    Raises:
        Untranslatable: it stands elsewhere: nothing is fetched for an agent.
    """
    if head := _DATA.match(url.text()):
        return Image(head[1], url.text()[head.end() :])
    raise Untranslatable(f"{url.path}={url.text()[:40]} (images must be inline: data:image/…;base64,…)")


def data_url(image: Image) -> str:
    """Return an image as a data URL."""
    return f"data:{image.media_type};base64,{image.data}"
