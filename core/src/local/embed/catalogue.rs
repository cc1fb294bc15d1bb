//! Well-known models whose repositories do not say everything about themselves.

use super::repository::Prompts;

/// What the models of a family put before queries and documents, though their repositories do not say so.
struct Family {
    /// The names of the repositories, without who publishes them, in lower case.
    names: &'static [&'static str],
    query: &'static str,
    document: &'static str,
}

const BGE: &str = "Represent this sentence for searching relevant passages: ";
const BGE_CHINESE: &str = "为这个句子生成表示以用于检索相关文章：";

/// From the families' own documentation.
const FAMILIES: &[Family] = &[
    Family {
        names: &[
            "e5-small",
            "e5-base",
            "e5-large",
            "e5-small-v2",
            "e5-base-v2",
            "e5-large-v2",
            "multilingual-e5-small",
            "multilingual-e5-base",
            "multilingual-e5-large",
        ],
        query: "query: ",
        document: "passage: ",
    },
    Family {
        names: &[
            "bge-small-en",
            "bge-base-en",
            "bge-large-en",
            "bge-small-en-v1.5",
            "bge-base-en-v1.5",
            "bge-large-en-v1.5",
            "snowflake-arctic-embed-xs",
            "snowflake-arctic-embed-s",
            "snowflake-arctic-embed-m",
            "snowflake-arctic-embed-m-v1.5",
            "snowflake-arctic-embed-l",
            "mxbai-embed-large-v1",
            "mxbai-embed-xsmall-v1",
        ],
        query: BGE,
        document: "",
    },
    Family {
        names: &[
            "bge-small-zh",
            "bge-base-zh",
            "bge-large-zh",
            "bge-small-zh-v1.5",
            "bge-base-zh-v1.5",
            "bge-large-zh-v1.5",
        ],
        query: BGE_CHINESE,
        document: "",
    },
    Family {
        names: &[
            "nomic-embed-text-v1",
            "nomic-embed-text-v1.5",
            "modernbert-embed-base",
            "modernbert-embed-large",
        ],
        query: "search_query: ",
        document: "search_document: ",
    },
];

/// The prompts of a well-known model, by its id on the Hub or the name of its folder.
pub(crate) fn prompts(model: &str) -> Option<Prompts> {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let family = FAMILIES.iter().find(|family| family.names.contains(&name.as_str()))?;
    let prompt = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Prompts { query: prompt(family.query), document: prompt(family.document), default: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_found_by_id_and_by_folder() {
        for name in ["intfloat/multilingual-e5-small", "multilingual-e5-small", "x/Multilingual-E5-Small"] {
            let found = prompts(name).unwrap();
            assert_eq!(found.query.as_deref(), Some("query: "), "{name}");
            assert_eq!(found.document.as_deref(), Some("passage: "), "{name}");
        }
        assert_eq!(prompts("BAAI/bge-base-en-v1.5").unwrap().document, None);
        assert_eq!(prompts("sentence-transformers/all-MiniLM-L6-v2"), None);
    }

    #[test]
    fn no_model_is_in_two_families() {
        let mut names: Vec<_> = FAMILIES.iter().flat_map(|family| family.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| **name == name.to_ascii_lowercase()));
    }
}
