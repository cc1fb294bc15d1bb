use super::*;

/// The plan for a repository of these files; those with a content can be read.
fn plan_of(files: &[(&str, &str)]) -> Result<Plan> {
    let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = |name: &str| {
        let found = files.iter().find(|(known, text)| *known == name && !text.is_empty());
        Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
    };
    Contents { names: &names, read: &read }.plan()
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
fn tables_of_vectors_need_no_configuration_and_the_folder_itself_may_be_a_dot() {
    let modules =
        r#"[{"path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding"}]"#;
    let files = ["modules.json", "0_StaticEmbedding/tokenizer.json", "0_StaticEmbedding/model.safetensors"];
    let plan = plan_of(&[(files[0], modules), (files[1], ""), (files[2], "")]).unwrap();
    assert_eq!(plan.files, files);
    assert!(!plan.absent.contains(&"0_StaticEmbedding/config.json".to_owned()));
    let modules = r#"[{"path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
    let files = ["config.json", "modules.json", "tokenizer.json", "model.safetensors"];
    let plan = plan_of(&[(files[0], ""), (files[1], modules), (files[2], ""), (files[3], "")]).unwrap();
    assert_eq!(plan.files, files);
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
    assert!(error.message().contains("lists model-2.safetensors, which is missing"), "{error}");
}

#[test]
fn pickles_are_taken_where_there_are_no_safetensors() {
    let weights = |files: &[(&'static str, &'static str)]| {
        let plan = plan_of(&[&[("config.json", "{}")], files].concat()).unwrap();
        plan.files.into_iter().filter(|name| name.contains("model")).collect::<Vec<_>>()
    };
    assert_eq!(weights(&[("pytorch_model.bin", "")]), ["pytorch_model.bin"]);
    assert_eq!(weights(&[("pytorch_model.bin", ""), ("model.safetensors", "")]), ["model.safetensors"]);
    let index = r#"{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}"#;
    let shards =
        [("pytorch_model.bin.index.json", index), ("pytorch_model-1.bin", ""), ("pytorch_model-2.bin", "")];
    assert_eq!(
        weights(&shards),
        ["pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model.bin.index.json"]
    );
    let of_safetensors = [&shards[..], &[("model.safetensors", "")]].concat();
    assert_eq!(weights(&of_safetensors), ["model.safetensors"]);
    let modules = r#"[{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}]"#;
    let dense = [("modules.json", modules), ("model.safetensors", ""), ("2_Dense/pytorch_model.bin", "")];
    assert_eq!(weights(&dense), ["model.safetensors", "2_Dense/pytorch_model.bin"]);
}

#[test]
fn an_index_that_leads_out_of_its_folder_is_refused() {
    for shard in ["../../model.safetensors", "/etc/passwd", "C:\\\\x"] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        let error = plan_of(&[("model.safetensors.index.json", &index)]).unwrap_err();
        assert!(error.message().contains("which is not a file of this folder"), "{error}");
    }
}

#[test]
fn what_has_no_weights_to_read_says_what_to_do() {
    for (file, says) in [
        ("model.pt", "model.pt of the repository is not read under this name"),
        ("model.Q4_0.gguf", "name the file"),
        ("README.md", "model.safetensors of the repository does not exist"),
    ] {
        let error = plan_of(&[("config.json", ""), (file, "")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(says), "{error}");
    }
    let modules = r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
    let dense = [("modules.json", modules), ("model.safetensors", ""), ("2_Dense/weights.pt", "")];
    let error = plan_of(&dense).unwrap_err();
    assert!(error.message().contains("2_Dense/weights.pt of the repository is not read"), "{error}");
    let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
    let encoder = [
        ("modules.json", modules),
        ("2_Dense/model.safetensors", ""),
        ("openvino/openvino_model.bin", ""),
        ("weights.bin", ""),
    ];
    let error = plan_of(&encoder).unwrap_err();
    assert!(error.message().contains("weights.bin of the repository is not read"), "{error}");
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
    let pickled =
        [("open_clip_config.json", "{}"), ("open_clip_pytorch_model.bin", ""), ("pytorch_model.bin", "")];
    assert_eq!(plan_of(&pickled).unwrap().files, ["open_clip_config.json", "open_clip_pytorch_model.bin"]);
}

#[test]
fn a_naming_file_that_is_damaged_is_named() {
    let error = plan_of(&[("modules.json", "{"), ("model.safetensors", "")]).unwrap_err();
    assert!(error.message().contains("modules.json of the repository"), "{error}");
}

#[test]
fn one_gguf_file_of_many_is_chosen_with_all_its_parts() {
    let names: BTreeSet<String> = [
        "README.md",
        "m-Q4_K_M.gguf",
        "m-Q4_K.gguf",
        "m-Q8_0-00001-of-00002.gguf",
        "m-Q8_0-00002-of-00002.gguf",
        "m.IQ4_XS.gguf",
    ]
    .map(str::to_owned)
    .into();
    let read = |_: &str| Ok(None);
    let contents = Contents { names: &names, read: &read };
    let files = |wanted: &str| contents.gguf_plan(wanted).map(|plan| plan.files);
    assert_eq!(files("Q4_K").unwrap(), ["m-Q4_K.gguf"]);
    assert_eq!(files("q4_k_m").unwrap(), ["m-Q4_K_M.gguf"]);
    assert_eq!(files("iq4").unwrap(), ["m.IQ4_XS.gguf"]);
    assert_eq!(files("Q8_0").unwrap(), ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"]);
    for (wanted, why) in [("Q5_0", "no GGUF file"), ("m-", "several GGUF files")] {
        let error = files(wanted).unwrap_err();
        assert!(error.message().contains(why) && error.message().contains("m-Q4_K.gguf"), "{error}");
    }
}

/// What sentence-transformers leaves in the cache of a text encoder, and transformers in that of a CLIP.
#[test]
fn files_that_an_architecture_does_not_read_need_not_be_known_to_be_absent() {
    let sentences = plan_of(&[
        ("config.json", r#"{"model_type": "bert", "architectures": ["BertModel"]}"#),
        ("config_sentence_transformers.json", "{}"),
        ("model.safetensors", ""),
        ("modules.json", "[]"),
        ("sentence_bert_config.json", "{}"),
        ("tokenizer.json", ""),
        ("tokenizer_config.json", ""),
    ]);
    assert_eq!(sentences.unwrap().absent, Vec::<String>::new());
    let clip = plan_of(&[
        ("config.json", r#"{"model_type": "clip"}"#),
        ("model.safetensors", ""),
        ("preprocessor_config.json", ""),
        ("tokenizer.json", ""),
        ("tokenizer_config.json", ""),
    ]);
    assert_eq!(clip.unwrap().absent, Vec::<String>::new());
    let bare = plan_of(&[
        ("config.json", r#"{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}"#),
        ("model.safetensors", ""),
    ]);
    let bare = bare.unwrap().absent;
    assert!(bare.contains(&"generation_config.json".to_owned()) && bare.contains(&"modules.json".to_owned()));
    assert!(!bare.contains(&"preprocessor_config.json".to_owned()), "{bare:?}");
}

#[test]
fn a_diffusion_model_is_taken_without_copies_and_parts_that_are_not_used() {
    let index = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "PNDMScheduler"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "text_encoder_2": [null, null]}"#;
    let plan_with = |index: &str, variant: Option<&str>, has_safety: bool| {
        let files = [
            "feature_extractor/preprocessor_config.json",
            "model_index.json",
            "v1-5.safetensors",
            "safety_checker/config.json",
            "safety_checker/model.safetensors",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let names = files.iter().map(|name| (*name).to_owned()).collect();
        let read = |name: &str| {
            Ok((name == "model_index.json" && !index.is_empty()).then(|| index.as_bytes().to_vec()))
        };
        Contents { names: &names, read: &read }.diffusion_plan(variant, has_safety).map(|plan| plan.files)
    };
    let plan = |index: &str, variant: Option<&str>| plan_with(index, variant, false);
    let common = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
    ];
    let with = |end: &str| {
        let weights = ["text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"];
        let weights = weights.map(|name| format!("{name}{end}"));
        common.iter().map(|name| (*name).to_owned()).chain(weights).collect::<Vec<_>>()
    };
    assert_eq!(plan(index, None).unwrap(), with(".safetensors"));
    let mut checked = plan_with(index, None, true).unwrap();
    checked.retain(|name| !with(".safetensors").contains(name));
    let of_checker = ["safety_checker/config.json", "safety_checker/model.safetensors"];
    assert_eq!(checked, ["feature_extractor/preprocessor_config.json", of_checker[0], of_checker[1]]);
    assert_eq!(plan(index, Some("fp16")).unwrap(), with(".fp16.safetensors"));
    assert_eq!(plan(index, Some("v1-5.safetensors")).unwrap(), ["v1-5.safetensors"]);
    assert_eq!(plan("", None).unwrap(), ["model_index.json"], "its parts are known when it is here");
    assert!(plan(index, Some("int4")).unwrap_err().message().contains("no weights of the variant 'int4'"));
    assert!(plan("[", None).is_err());
}
