// Shows the API's own document. All addresses are relative, so that the page also works below a prefix of a proxy.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  filter: true,
  persistAuthorization: false,
  validatorUrl: null,
});
