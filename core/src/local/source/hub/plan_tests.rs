use super::*;

/// The plan for a repository of these files; those with a content can be read.
fn plan_of(files: &[(&str, &str)]) -> Result<Plan> {
    let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = |name: &str| {
        let found = files.iter().find(|(known, text)| *known == name && !text.is_empty());
        Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
    };
    Contents { names: &names, read: &read }.plan(&Wanted::Model)
}

#[test]
fn a_sentence_transformers_model_is_taken_without_its_copies_in_other_formats() {
    let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
    let plan = plan_of(&[
        (".gitattributes", ""),
        ("1_Pooling/config.json", ""),
        ("2_Dense/config.json", ""),
        ("2_Dense/model.safetensors", ""),
        ("2_Dense/pytorch_model.bin", ""),
        ("README.md", ""),
        ("config.json", ""),
        ("model.safetensors", ""),
        ("modules.json", modules),
        ("onnx/model.onnx", ""),
        ("openvino/openvino_model.bin", ""),
        ("pytorch_model.bin", ""),
        ("tokenizer.json", ""),
        ("vocab.txt", ""),
    ])
    .unwrap();
    let files = [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "vocab.txt",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "model.safetensors",
        "2_Dense/model.safetensors",
    ];
    assert_eq!(plan.files, files);
    assert!(plan.absent.contains(&"sentence_bert_config.json".to_owned()));
    assert!(!plan.absent.iter().any(|name| name.contains("Normalize")));
}

#[test]
fn a_model_in_the_folder_of_its_first_module_is_found_there() {
    let modules = r#"[{"path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]"#;
    let plan = plan_of(&[
        ("0_CLIPModel/config.json", ""),
        ("0_CLIPModel/preprocessor_config.json", ""),
        ("0_CLIPModel/merges.txt", ""),
        ("0_CLIPModel/model.safetensors", ""),
        ("modules.json", modules),
    ])
    .unwrap();
    assert_eq!(plan.files.len(), 5, "{plan:?}");
    assert_eq!(plan.files.last().unwrap(), "0_CLIPModel/model.safetensors");
}

#[test]
fn all_shards_of_the_index_are_taken_and_the_index_after_them() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors",
        "c": "model-1.safetensors"}}"#;
    let mut files = vec![
        ("config.json", ""),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", ""),
        ("model-2.safetensors", ""),
    ];
    let plan = plan_of(&files).unwrap();
    let weights = ["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"];
    assert_eq!(plan.files[1..], weights);
    files.pop();
    let error = plan_of(&files).unwrap_err();
    assert!(error.message().contains("names model-2.safetensors"), "{error}");
}

#[test]
fn what_has_no_weights_to_read_says_what_to_do() {
    for (file, says) in [
        ("pytorch_model.bin", "pytorch_model.bin, a pickle"),
        ("model.Q4_0.gguf", "name the file"),
        ("README.md", "no model.safetensors"),
    ] {
        let error = plan_of(&[("config.json", ""), (file, "")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(says), "{error}");
    }
    let modules = r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
    let dense = [("modules.json", modules), ("model.safetensors", ""), ("2_Dense/pytorch_model.bin", "")];
    let error = plan_of(&dense).unwrap_err();
    assert!(error.message().contains("2_Dense/pytorch_model.bin, a pickle"), "{error}");
    let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
    let encoder = [
        ("modules.json", modules),
        ("2_Dense/model.safetensors", ""),
        ("openvino/openvino_model.bin", ""),
        ("pytorch_model.bin", ""),
    ];
    let error = plan_of(&encoder).unwrap_err();
    assert!(error.message().contains("weights in pytorch_model.bin, a pickle"), "{error}");
}

#[test]
fn weights_of_open_clip_are_taken_where_no_other_are_the_whole_model() {
    let names =
        [("open_clip_config.json", "{}"), ("open_clip_model.safetensors", ""), ("model.safetensors", "")];
    let weights = |config: &[(&'static str, &'static str)]| {
        let plan = plan_of(&[&names, config].concat()).unwrap();
        plan.files.into_iter().filter(|name| name.ends_with("safetensors")).collect::<Vec<_>>()
    };
    let timm = ("config.json", r#"{"architecture": "vit_base_patch32_clip_224"}"#);
    assert_eq!(weights(&[timm]), ["open_clip_model.safetensors"]);
    assert_eq!(weights(&[]), ["open_clip_model.safetensors"]);
    assert_eq!(weights(&[("config.json", r#"{"model_type": "clip"}"#)]), ["model.safetensors"]);
    let pickled = [("open_clip_config.json", "{}"), ("open_clip_pytorch_model.bin", "")];
    let error = plan_of(&pickled).unwrap_err();
    for says in ["open_clip_pytorch_model.bin, a pickle", "save_file", "'open_clip_model.safetensors'"] {
        assert!(error.message().contains(says), "{error}");
    }
}

#[test]
fn a_naming_file_that_is_damaged_is_named() {
    let error = plan_of(&[("modules.json", "{"), ("model.safetensors", "")]).unwrap_err();
    assert!(error.message().contains("modules.json of the repository"), "{error}");
}

#[test]
fn one_file_can_be_wanted_alone() {
    let names = BTreeSet::from(["a.gguf".to_owned()]);
    let contents = Contents { names: &names, read: &|_| Ok(None) };
    assert_eq!(contents.plan(&Wanted::File("a.gguf".to_owned())).unwrap().files, ["a.gguf"]);
    let error = contents.plan(&Wanted::File("b.gguf".to_owned())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
