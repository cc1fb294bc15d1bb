use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<Repository> {
    let folder = folder(files);
    Repository::read(&ModelFiles::in_folder(folder.path()).unwrap(), None, None)
}

const CONFIG: (&str, &str) = ("config.json", r#"{"model_type": "bert", "hidden_size": 8}"#);
const MODULES: (&str, &str) = (
    "modules.json",
    r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
);

#[test]
fn without_modules_it_is_the_mean_and_no_unit_length() {
    let repository = read(&[CONFIG]).unwrap();
    assert_eq!(repository.pooler, Pooler::of(Mode::Mean));
    assert!(!repository.is_normalised());
    assert_eq!((repository.window, repository.width()), (None, Some(8)));
    assert_eq!(repository.prompts, Prompts::default());
}

#[test]
fn the_switches_of_older_repositories_mean_the_modes_of_newer_ones() {
    for (_, name, switch) in MODES {
        let old =
            format!(r#"{{"word_embedding_dimension": 8, "{switch}": true, "pooling_mode_unknown": false}}"#);
        let new = format!(r#"{{"embedding_dimension": 8, "pooling_mode": "{name}"}}"#);
        let pooled = |config: &str| read(&[CONFIG, MODULES, ("1_Pooling/config.json", config)]).unwrap();
        assert_eq!(pooled(&old).pooler, pooled(&new).pooler, "{name}");
        assert!(pooled(&old).is_normalised());
    }
    let both =
        r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true, "include_prompt": false}"#;
    let repository = read(&[CONFIG, MODULES, ("1_Pooling/config.json", both)]).unwrap();
    assert_eq!(repository.pooler, Pooler { modes: vec![Mode::Cls, Mode::Mean], includes_prompt: false });
    assert_eq!(repository.width(), Some(16));
}

#[test]
fn what_is_not_supported_is_named() {
    let pooling = ("1_Pooling/config.json", r#"{"pooling_mode": "attention"}"#);
    let error = read(&[CONFIG, MODULES, pooling]).unwrap_err();
    assert_eq!(error.message(), "the pooling mode `attention` is not supported");
    let modules = (
        "modules.json",
        r#"[{"path": "", "type": "x.models.Transformer"}, {"path": "1", "type": "x.LSTM"}]"#,
    );
    let error = read(&[CONFIG, modules]).unwrap_err();
    assert_eq!(error.message(), "part 1 of modules.json is `LSTM`, which is not supported there");
    let error = read(&[("x.json", "{}")]).unwrap_err();
    assert!(error.message().contains("has no config.json"), "{error}");
}

#[test]
fn parts_lie_inside_the_repository() {
    for path in ["../1_Pooling", "/etc", "a/../../b"] {
        let modules =
            format!(r#"[{{"path": "", "type": "Transformer"}}, {{"path": "{path}", "type": "Pooling"}}]"#);
        let error = read(&[CONFIG, ("modules.json", &modules)]).unwrap_err();
        assert!(error.message().contains("which is not one of the model's"), "{error}");
    }
}

#[test]
fn the_window_is_the_repository_s_or_the_tokenizer_s() {
    let huge = ("tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
    assert_eq!(read(&[CONFIG, huge]).unwrap().window, None);
    let own = ("tokenizer_config.json", r#"{"model_max_length": 512}"#);
    assert_eq!(read(&[CONFIG, own]).unwrap().window, Some(512));
    let sentence = ("sentence_bert_config.json", r#"{"max_seq_length": 256, "do_lower_case": true}"#);
    let repository = read(&[CONFIG, own, sentence]).unwrap();
    assert_eq!((repository.window, repository.cleaning), (Some(256), Cleaning::LowerCase));
}

#[test]
fn roles_find_their_prompts() {
    let prompts = r#"{"prompts": {"query": "q: ", "passage": "p: ", "s": "s: ", "document": null}, "default_prompt_name": "s"}"#;
    let repository = read(&[CONFIG, ("config_sentence_transformers.json", prompts)]).unwrap();
    assert_eq!(repository.prompts.of(Some(EmbedRole::Query)), "q: ");
    assert_eq!(repository.prompts.of(Some(EmbedRole::Document)), "p: ");
    assert_eq!(repository.prompts.of(None), "s: ");
    assert_ne!(repository.space(None).prompt_set, None);
}

#[test]
fn a_silent_repository_of_a_known_family_gets_the_family_s_prompts() {
    let folder = folder(&[
        CONFIG,
        ("config_sentence_transformers.json", r#"{"prompts": {"query": "", "document": ""}}"#),
    ]);
    let files = ModelFiles::in_folder(folder.path()).unwrap().named("intfloat/e5-small-v2", None);
    let repository = Repository::read(&files, None, None).unwrap();
    assert_eq!(repository.prompts.of(Some(EmbedRole::Query)), "query: ");
    assert_eq!(repository.prompts.of(None), "");
    assert_eq!(repository.prompt_origin, PromptOrigin::Catalogue);
    let own = r#"{"prompts": {"query": "own: "}}"#;
    std::fs::write(folder.path().join("config_sentence_transformers.json"), own).unwrap();
    let repository = Repository::read(&files, None, None).unwrap();
    assert_eq!(repository.prompts.of(Some(EmbedRole::Query)), "own: ");
    assert_eq!(repository.prompt_origin, PromptOrigin::Repository);
}

#[test]
fn a_folder_s_name_gives_no_prompts_and_what_its_user_declares_does() {
    let folder = folder(&[("e5-small-v2/config.json", CONFIG.1)]);
    let files = ModelFiles::in_folder(&folder.path().join("e5-small-v2")).unwrap();
    let silent = Repository::read(&files, None, None).unwrap();
    assert_eq!((silent.prompts.of(Some(EmbedRole::Query)), silent.prompt_origin), ("", PromptOrigin::None));
    let declared = Repository::read(&files, Some("intfloat/e5-small-v2"), None).unwrap();
    assert_eq!(declared.prompts.of(Some(EmbedRole::Query)), "query: ");
    assert_eq!(declared.prompt_origin, PromptOrigin::Catalogue);
}

#[test]
fn the_space_names_what_makes_vectors_comparable() {
    let folder = folder(&[CONFIG]);
    let files = ModelFiles::in_folder(folder.path()).unwrap().named("org/name", Some("abc".to_owned()));
    let space = Repository::read(&files, None, None).unwrap().space(Some(8));
    assert_eq!((space.model.as_str(), space.revision.as_deref()), ("org/name", Some("abc")));
    assert_eq!((space.dimensions, space.normalised), (Some(8), false));
    assert_eq!(space.pooling, Some(crate::embed::Pooling::Mean));
}

#[test]
fn every_well_known_model_is_of_an_architecture_that_the_loader_has() {
    for known in crate::embed::known_models() {
        let config = serde_json::json!({ "model_type": known.architecture, "hidden_size": known.dimensions });
        let folder = folder(&[("config.json", &config.to_string())]);
        // What a table of vectors is, its weights say.
        let device = candle_core::Device::Cpu;
        let table =
            candle_core::Tensor::zeros((1, known.dimensions), candle_core::DType::F32, &device).unwrap();
        table.save_safetensors("embeddings", folder.path().join("model.safetensors")).unwrap();
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        // The files of language models that were made for embeddings say how they are pooled.
        let kind = Repository::read(&files, None, Some(Pooling::LastToken)).unwrap().kind;
        assert_eq!(kind == Kind::Dual, known.pooling.is_none(), "{}", known.id);
        assert!(crate::local::embedding_architectures().contains(&known.architecture), "{}", known.id);
    }
}
fn refused(files: &[(&str, &str)]) -> Error {
    read(files).unwrap_err()
}

#[test]
fn what_is_not_meant_to_be_pooled_says_what_to_set_and_is_taken_if_it_is_set() {
    for config in [
        r#"{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}"#,
        r#"{"model_type": "qwen3", "architectures": ["Qwen3Model"]}"#,
        r#"{"model_type": "gemma3_text", "use_bidirectional_attention": false}"#,
        r#"{"model_type": "bert", "architectures": ["BertLMHeadModel"]}"#,
        r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}"#,
        r#"{"model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"]}"#,
    ] {
        let error = refused(&[("config.json", config)]);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{config}");
        assert!(error.message().contains("set `pooling`"), "{error}");
        let folder = folder(&[("config.json", config)]);
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        let set = Repository::read(&files, None, Some(Pooling::LastToken)).unwrap();
        assert_eq!(set.pooler, Pooler::of(Mode::LastToken));
        let pooling = ("1_Pooling/config.json", r#"{"pooling_mode_lasttoken": true}"#);
        assert_eq!(read(&[("config.json", config), MODULES, pooling]).unwrap().pooler, set.pooler);
    }
    for config in [
        r#"{"model_type": "bert", "architectures": ["BertForMaskedLM"]}"#,
        r#"{"model_type": "gemma3_text", "use_bidirectional_attention": true}"#,
    ] {
        assert_eq!(read(&[("config.json", config)]).unwrap().pooler, Pooler::of(Mode::Mean), "{config}");
    }
}

#[test]
fn pooling_that_is_set_comes_before_the_repository_s() {
    let pooling = ("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true, "include_prompt": false}"#);
    let folder = folder(&[CONFIG, MODULES, pooling]);
    let files = ModelFiles::in_folder(folder.path()).unwrap();
    let repository = Repository::read(&files, None, Some(Pooling::Max)).unwrap();
    assert_eq!(repository.pooler, Pooler { modes: vec![Mode::Max], includes_prompt: false });
    assert!(repository.is_normalised());
}

#[test]
fn lists_without_end_are_refused() {
    let modes = ("1_Pooling/config.json", r#"{"pooling_mode": ["mean", "cls", "mean"]}"#);
    assert_eq!(refused(&[CONFIG, MODULES, modes]).message(), "the pooling mode `mean` is there twice");
    let normalise = r#"{"path": "", "type": "Normalize"}"#;
    let modules = format!("[{}]", [normalise; 17].join(","));
    let error = refused(&[CONFIG, ("modules.json", &modules)]);
    assert!(error.message().contains("modules.json has 17 parts; at most 16"), "{error}");
}
