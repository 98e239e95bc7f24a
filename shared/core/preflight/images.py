"""Images say what they show to who does not see them, and are there."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, Place, warned

#: Of one kind, so many are told.
_MOST = 50


def images(draft: Draft) -> list[Finding]:
    without_alt = [
        warned("image_without_alt", image.place, 'Say what the image shows, alt="…", or alt="" for an ornament.')
        for image in draft.texts.images
        if not image.has_alt
    ]
    named = {image.address.strip()[4:]: image.place for image in draft.texts.images if _is_attached(image.address)}
    missing = [
        warned("image_missing", place, f"Attach an image with the content_id {name[:100]}: the HTML shows it.")
        for name, place in named.items()
        if name not in draft.content_ids
    ]
    unused = [
        warned("image_not_shown", Place("html"), f'Show the image {name} in the HTML: <img src="cid:{name}">.')
        for name in sorted(draft.content_ids - named.keys())
    ]
    return [*without_alt[:_MOST], *missing[:_MOST], *unused]


def _is_attached(address: str) -> bool:
    return address.strip().lower().startswith("cid:")
