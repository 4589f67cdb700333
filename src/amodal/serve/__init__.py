"""The application: HTTP service, its Python client, the web page, the Label Studio backend. Adds no second way to do anything."""
