"""The wire formats, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.gateway.formats.base import WireFormat
from harness.gateway.formats.chat import CHAT
from harness.gateway.formats.google import GOOGLE
from harness.gateway.formats.messages import MESSAGES
from harness.gateway.formats.responses import RESPONSES
from harness.spec.backbone import FormatName

FORMATS: Mapping[FormatName, WireFormat] = MappingProxyType(
    {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "google": GOOGLE}
)
