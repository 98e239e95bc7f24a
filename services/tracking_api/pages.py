"""The pages that readers see."""

from __future__ import annotations

#: No script, no frame, nothing from elsewhere; nothing is kept, and no other site learns of the address.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

#: What every address shows that is none of ours, whatever it looks like.
UNKNOWN = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>This link is not known</title>
<style>
body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem; color: #1a1a1a }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee } }
</style>
</head>
<body>
<main>
<h1>This link is not known</h1>
<p>It may be incomplete, or too old. Please open it again from the message it came with.</p>
</main>
</body>
</html>
"""
