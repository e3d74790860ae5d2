"""Images that container backends make sandboxes of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.sandbox.base import Check
from harness.service.bench import Bench
from harness.spec.errors import MissingError
from harness.spec.progress import Progress


class Images(Bench):
    """What is done with images."""

    def images(self) -> list[dict[str, Any]]:
        """Return every image that container backends can use, and whether it is built.

        Raises:
            MissingError: no engine answers.
        """
        from harness.sandbox.images import all_images
        from harness.sandbox.images.state import describe

        return [describe(image) for image in all_images()]

    def build_images(
        self, names: Sequence[str] = (), variant: str = "cpu", way: str | None = None, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """Build images that are not up to date, with what they stand on; return how they stand then.

        Args:
            names: which; empty: task and grader.
            variant: cpu or cuda.
            way: "registry", "offline", or None to try them in this order.
            progress: told what is being done.

        Raises:
            NotFoundError: no such image.
            MissingError: no engine, or something that the build needs is not to be had.
        """
        from harness.sandbox.images import find_image
        from harness.sandbox.images.build import build, choose_way
        from harness.sandbox.images.state import describe

        say = progress or (lambda text: None)
        images = [find_image(name, variant) for name in names or ("task", "grader")]
        for image in images:
            build(image, choose_way(image, way, say), self.cache, say)
        return [describe(image) for image in images]

    def verify_images(self, names: Sequence[str] = (), variant: str = "cpu") -> list[Check]:
        """Check images against the lock file and try what they hold; default: all that are built.

        Raises:
            NotFoundError: no such image.
            MissingError: no engine answers.
        """
        from harness.sandbox.images import all_images, find_image
        from harness.sandbox.images.state import built
        from harness.sandbox.images.verify import verify

        images = [find_image(name, variant) for name in names] or [image for image in all_images() if built(image)]
        if not images:
            raise MissingError("no image is built", hint="dojo images build")
        return [check for image in images for check in verify(image)]
