"""The images that container backends make sandboxes of: what there are, whether they are built, and how to build them."""

from harness.sandbox.images.definition import (
    Image,
    all_images,
    find_image,
    inputs_digest,
    reference,
    reference_variable,
)

__all__ = ["Image", "all_images", "find_image", "inputs_digest", "reference", "reference_variable"]
