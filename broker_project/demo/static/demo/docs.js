/** The API's documentation: Swagger UI, set up by a file, for the pages' policy allows no script in a page. */

const { schema, settings, csrfHeader, csrfToken } = document.getElementById("swagger-ui").dataset;

SwaggerUIBundle({
  url: schema,
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  requestInterceptor(request) {
    const isOwn = new URL(request.url, location.href).origin === location.origin;
    if (isOwn && !["GET", undefined].includes(request.method)) request.headers[csrfHeader] = csrfToken;
    return request;
  },
  ...JSON.parse(settings),
});
