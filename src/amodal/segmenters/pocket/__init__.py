"""The pocket segmenter: clicks and boxes to the visible mask, trained here, shipped in the package."""
