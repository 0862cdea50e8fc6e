// Starts Swagger UI. It stands in a file of its own, because the page's policy allows no inline script.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    // The validator is somebody else's server.
    validatorUrl: null,
  });
});
