//! The OpenAPI 3.1 document, made from the operations themselves.

use loopback_api::{Access, Described, Problem, described};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The document. It names what is in the vocabulary, whether or not this server has a handler for it.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let operations = described(&mut generator);
    let problem = generator.subschema_for::<Problem>().to_value();
    let schemas = generator.take_definitions(true);
    let mut paths: Map<String, Value> = Map::new();
    for operation in &operations {
        let methods = paths.entry(operation.spec.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(operation.spec.method.name().to_lowercase(), described_operation(operation, &problem, &schemas));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Loopback coordinator", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "description": "A session or an API key: lbk_…" } } },
    })
}

fn described_operation(operation: &Described, problem: &Value, schemas: &Map<String, Value>) -> Value {
    let spec = operation.spec;
    let mut parameters: Vec<Value> =
        placeholders(spec.path).map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
    parameters.extend(query_parameters(&resolved(operation.query.as_value(), schemas)));
    let mut described = json!({
        "operationId": spec.name,
        "summary": spec.summary,
        "x-audit": spec.audit,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": { "application/json": { "schema": operation.output.as_value() } } },
            "default": { "description": "A problem.", "content": { "application/problem+json": { "schema": problem } } },
        },
    });
    if let Some(fields) = described.as_object_mut() {
        if !is_nothing(operation.body.as_value(), schemas) {
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": { "application/json": { "schema": operation.body.as_value() } } }));
        }
        if spec.access != Access::Public {
            fields.insert("security".to_owned(), json!([{ "bearer": [] }]));
        }
        if let Access::Holds(permission) | Access::Reaches(permission) = spec.access {
            fields.insert("x-permission".to_owned(), json!(permission.to_string()));
        }
    }
    described
}

fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// An object's properties, each as a parameter.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, schema)| json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": schema })).collect()
}

fn is_nothing(schema: &Value, schemas: &Map<String, Value>) -> bool {
    resolved(schema, schemas).get("properties").is_none_or(|properties| properties.as_object().is_some_and(Map::is_empty))
}

/// What a reference stands for.
fn resolved(schema: &Value, schemas: &Map<String, Value>) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
    name.and_then(|name| schemas.get(name)).unwrap_or(schema).clone()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::document;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str().filter(|_| name == "$ref") {
                Some(reference) => found.push(reference.to_owned()),
                None => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn an_operation_says_its_permission_parameters_and_body() {
        let document = document();
        let create = &document["paths"]["/v1/organizations/{organization}/projects"]["post"];
        assert_eq!(create["x-permission"], "organization.project:create");
        assert_eq!(create["requestBody"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/NewProject");
        let list = &document["paths"]["/v1/organizations/{organization}/projects"]["get"];
        let names: Vec<_> = list["parameters"].as_array().unwrap().iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["organization", "cursor", "limit"]);
        assert_eq!((&list["requestBody"], &document["paths"]["/v1/login"]["post"]["security"]), (&Value::Null, &Value::Null));
    }
}
