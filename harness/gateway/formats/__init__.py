"""The wire formats, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.gateway.formats.base import WireFormat
from harness.gateway.formats.chat import CHAT
from harness.gateway.formats.messages import MESSAGES
from harness.spec.backbone import FormatName

FORMATS: Mapping[FormatName, WireFormat] = MappingProxyType({"chat": CHAT, "messages": MESSAGES})
