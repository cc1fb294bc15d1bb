//! The vectors, and where they came from.

use serde::{Deserialize, Serialize, Serializer};

use super::vectors::Vectors;
use crate::error::{Error, Result};
use crate::info::{Route, Usage};

/// The vectors, and where they came from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct EmbedResponse {
    /// One vector an input, in the order of the inputs.
    pub vectors: Vectors,
    /// The positions of the inputs that were cut to the model's window, as far as the backend says so.
    #[serde(default)]
    pub truncated: Vec<usize>,
    /// Tokens used, where the backend says so.
    #[serde(default)]
    pub usage: Usage,
    /// Who served.
    pub route: Route,
}

impl EmbedResponse {
    /// A response in which nothing was cut and no usage is known.
    pub fn new(vectors: Vectors, route: Route) -> Self {
        Self { vectors, truncated: Vec::new(), usage: Usage::default(), route }
    }

    /// Names the inputs that were cut.
    pub fn with_truncated(mut self, truncated: Vec<usize>) -> Self {
        self.truncated = truncated;
        self
    }

    /// Sets the usage.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Fails unless there is one vector an input, as wide as the space (or the request) says, and every number is
    /// finite.
    ///
    /// # Errors
    /// `response_invalid`.
    pub fn check(self, inputs: usize, dimensions: Option<usize>) -> Result<Self> {
        if self.vectors.len() != inputs {
            return Err(Error::response_invalid(format!(
                "{} vectors came back for {inputs} inputs",
                self.vectors.len()
            )));
        }
        if let Some(width) = dimensions.filter(|width| *width != self.vectors.width()) {
            return Err(Error::response_invalid(format!(
                "vectors of {} numbers came back where the space has {width}",
                self.vectors.width()
            )));
        }
        match self.vectors.first_not_finite() {
            Some(index) => {
                let model = &self.route.model;
                let text = format!("vector {index} of the model {model} holds NaN or infinity");
                Err(Error::response_invalid(text).about_input(index))
            }
            None => Ok(self),
        }
    }
}

/// In JSON, how many vectors there are and how wide they are stand beside them.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Written<'a> {
    /// One vector an input, in the order of the inputs.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Vec<f32>>"))]
    vectors: &'a Vectors,
    /// How many vectors there are.
    count: usize,
    /// How many numbers a vector has.
    width: usize,
    /// The positions of the inputs that were cut to the model's window, as far as the backend says so.
    truncated: &'a [usize],
    /// Tokens used, where the backend says so.
    usage: Usage,
    /// Who served.
    route: &'a Route,
}

impl Serialize for EmbedResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { vectors, truncated, usage, route } = self;
        let (count, width) = (vectors.len(), vectors.width());
        Written { vectors, count, width, truncated, usage: *usage, route }.serialize(serializer)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for EmbedResponse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EmbedResponse".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Written::json_schema(generator);
        schema.insert("description".into(), "The vectors, and where they came from.".into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::info::BackendInfo;

    #[test]
    fn a_response_is_written_with_count_and_width_and_read_without_them() {
        let vectors = Vectors::new([0.1, -1.0], 2).expect("vectors");
        let response = EmbedResponse::new(vectors, Route::new(&BackendInfo::new("b", "m")))
            .with_truncated(vec![0])
            .with_usage(Usage::new(3, None));
        let text = serde_json::to_string(&response).expect("JSON");
        assert!(
            text.starts_with(r#"{"vectors":[[0.1,-1.0]],"count":1,"width":2,"truncated":[0],"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<EmbedResponse>(&text).expect("a response"), response);
        let route = json!({"backend": "b", "model": "m", "attempts": 1, "cached": false});
        let uneven = json!({"vectors": [[0.1], [0.2, 0.3]], "route": route});
        assert!(serde_json::from_value::<EmbedResponse>(uneven).is_err());
    }
}
