// The interactive document of the HTTP API: Swagger UI from the package fastapi-swagger, not from a network.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
