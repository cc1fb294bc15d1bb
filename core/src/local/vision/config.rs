//! Reading `preprocessor_config.json` and `open_clip_config.json`.

use serde_json::Value;

use super::preprocess::{Centre, Crop, LookupTable, Preprocessor, Resize};
use super::resize::Filter;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::{ModelFiles, OPEN_CLIP_CONFIG};

/// No side of what a model takes is longer.
const MOST_SIDE: u64 = 8192;

const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_DEVIATION: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];
const HALF: [f64; 3] = [0.5; 3];

/// A configuration file's content.
struct Entries<'a> {
    file: &'static str,
    object: &'a Value,
}

/// What stands for entries that are not there.
struct Defaults {
    size: Option<Resize>,
    /// Whether a single number is the shorter side; else it is both.
    number_is_an_edge: bool,
    crop: Option<u64>,
    filter: Option<Filter>,
    normal: Option<([f64; 3], [f64; 3])>,
}

/// The files that say what is done to images.
const OF_IMAGES: &str = "preprocessor_config.json";
const OF_PROCESSOR: &str = "processor_config.json";

/// What a model's own files say, if they do: those of transformers, in version 5 one for all parts of a processor, or that
/// of open_clip.
pub(super) fn of_model(files: &ModelFiles) -> Result<Option<Preprocessor>> {
    if let Some(of_images) = files.json::<Value>(OF_IMAGES)? {
        return of_transformers(OF_IMAGES, &of_images).map(Some);
    }
    let processor: Option<Value> = files.json(OF_PROCESSOR)?;
    if let Some(of_images) = processor.as_ref().and_then(|processor| processor.get("image_processor")) {
        return of_transformers(OF_PROCESSOR, of_images).map(Some);
    }
    match files.read(OPEN_CLIP_CONFIG)? {
        Some(bytes) => open_clip(&String::from_utf8_lossy(&bytes)).map(Some),
        None => Ok(None),
    }
}

pub(super) fn transformers(json: &str) -> Result<Preprocessor> {
    of_transformers(OF_IMAGES, &parse(OF_IMAGES, json)?)
}

fn of_transformers(file: &'static str, object: &Value) -> Result<Preprocessor> {
    let entries = Entries { file, object };
    let defaults = entries.defaults()?;
    let resize = if entries.flag("do_resize", true)? {
        Some((entries.size(&defaults)?, entries.filter(defaults.filter)?))
    } else {
        None
    };
    let crop = if entries.flag("do_center_crop", defaults.crop.is_some())? {
        let (height, width) = match (entries.get("crop_size"), defaults.crop) {
            (Some(size), _) => entries.height_and_width("crop_size", size)?,
            (None, Some(side)) => (side, side),
            (None, None) => return Err(entries.fault("crop_size", "is missing")),
        };
        Some(Crop { height: side(height), width: side(width), centre: Centre::Floor })
    } else {
        None
    };
    for pad in ["do_pad", "do_image_splitting", "do_pan_and_scan"] {
        if entries.flag(pad, false)? {
            return Err(entries.fault(pad, "is not supported"));
        }
    }
    let factor = match entries.get("rescale_factor") {
        Some(factor) => factor.as_f64().ok_or_else(|| entries.fault("rescale_factor", "is not a number"))?,
        None => 1.0 / 255.0,
    };
    let rescale = entries.flag("do_rescale", true)?;
    let normal = entries.normal("do_normalize", ("image_mean", "image_std"), defaults.normal)?;
    // The product is taken in f64 and then rounded, as transformers does.
    #[allow(clippy::cast_possible_truncation, reason = "the rounding is meant")]
    let scale = |byte: u8| if rescale { (f64::from(byte) * factor) as f32 } else { f32::from(byte) };
    Ok(Preprocessor { resize, crop, numbers: LookupTable::new(scale, normal) })
}

pub(super) fn open_clip(json: &str) -> Result<Preprocessor> {
    let file = "open_clip_config.json";
    let parsed = parse(file, json)?;
    let object = parsed.get("preprocess_cfg").unwrap_or(&Value::Null);
    let entries = Entries { file, object };
    let of_model = parsed.pointer("/model_cfg/vision_cfg/image_size");
    let size = entries.get("size").or(of_model).ok_or_else(|| entries.fault("size", "is missing"))?;
    let (height, width) = match size.as_array().map(Vec::as_slice) {
        // Some files put the channels first.
        Some([channels, height, width]) if channels.as_u64() == Some(3) => {
            (entries.side("size", Some(height))?, entries.side("size", Some(width))?)
        }
        _ => entries.height_and_width("size", size)?,
    };
    if entries.text("mode", "RGB")? != "RGB" {
        return Err(entries.fault("mode", "is not RGB"));
    }
    let name = entries.text("interpolation", "bicubic")?;
    let filter = Filter::named(name).ok_or_else(|| entries.fault("interpolation", "is no known filter"))?;
    let (height, width) = (side(height), side(width));
    let (resize, crop) = match entries.text("resize_mode", "shortest")? {
        "squash" => (Resize::Exact { height, width }, None),
        "shortest" if height == width => {
            (Resize::ShortestEdge(height), Some(Crop { height, width, centre: Centre::Torchvision }))
        }
        "shortest" => {
            return Err(entries.fault("size", "is not square, which is supported with `squash` only"));
        }
        _ => return Err(entries.fault("resize_mode", "is not supported; `shortest` and `squash` are")),
    };
    let normal = entries.normal("do_normalize", ("mean", "std"), Some((CLIP_MEAN, CLIP_DEVIATION)))?;
    let numbers = LookupTable::new(|byte| f32::from(byte) / 255.0, normal);
    Ok(Preprocessor { resize: Some((resize, filter)), crop, numbers })
}

fn parse(file: &'static str, json: &str) -> Result<Value> {
    let parsed: Value = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::ModelLoad, format!("{file} is not JSON: {error}")))?;
    if parsed.is_object() {
        return Ok(parsed);
    }
    Err(Error::new(ErrorKind::ModelLoad, format!("{file} is not a JSON object")))
}

/// A side, checked to be at most [`MOST_SIDE`].
fn side(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

impl<'a> Entries<'a> {
    fn fault(&self, name: &str, what: &str) -> Error {
        Error::new(ErrorKind::ModelLoad, format!("{}: `{name}` {what}", self.file))
    }

    /// The entry, unless it is null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        self.get(name).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| self.fault(name, "is neither true nor false"))
        })
    }

    fn text(&self, name: &str, default: &'a str) -> Result<&'a str> {
        self.get(name)
            .map_or(Ok(default), |value| value.as_str().ok_or_else(|| self.fault(name, "is not a text")))
    }

    /// By the kind of processor.
    fn defaults(&self) -> Result<Defaults> {
        let kind =
            self.text("image_processor_type", self.text("feature_extractor_type", "CLIPImageProcessor")?)?;
        let kind = kind.strip_suffix("Fast").or_else(|| kind.strip_suffix("Pil")).unwrap_or(kind);
        Ok(match kind {
            "CLIPImageProcessor" | "CLIPFeatureExtractor" => Defaults {
                size: Some(Resize::ShortestEdge(224)),
                number_is_an_edge: true,
                crop: Some(224),
                filter: Some(Filter::Bicubic),
                normal: Some((CLIP_MEAN, CLIP_DEVIATION)),
            },
            "SiglipImageProcessor" => Defaults {
                size: Some(Resize::Exact { height: 224, width: 224 }),
                number_is_an_edge: false,
                crop: None,
                filter: Some(Filter::Bicubic),
                normal: Some((HALF, HALF)),
            },
            "Siglip2ImageProcessor" => {
                return Err(self.fault("image_processor_type", "is the one of NaFlex models, whose images keep their shape; use a model of fixed resolution"));
            }
            // Whatever such a processor does must be spelt out.
            _ => Defaults { size: None, number_is_an_edge: false, crop: None, filter: None, normal: None },
        })
    }

    fn size(&self, defaults: &Defaults) -> Result<Resize> {
        let Some(size) = self.get("size") else {
            return defaults.size.ok_or_else(|| self.fault("size", "is missing"));
        };
        let edge = match size {
            Value::Object(entries) if entries.contains_key("shortest_edge") => {
                if entries.get("longest_edge").is_some_and(|longest| !longest.is_null()) {
                    return Err(self.fault("size", "limits the longest edge, which is not supported"));
                }
                Some(&size["shortest_edge"])
            }
            Value::Number(_) if defaults.number_is_an_edge => Some(size),
            _ => None,
        };
        if edge.is_some() {
            return Ok(Resize::ShortestEdge(side(self.side("size", edge)?)));
        }
        let (height, width) = self.height_and_width("size", size)?;
        Ok(Resize::Exact { height: side(height), width: side(width) })
    }

    /// From one number for both, a list of two, or an object.
    fn height_and_width(&self, name: &str, size: &Value) -> Result<(u64, u64)> {
        match size {
            Value::Number(_) => self.side(name, Some(size)).map(|side| (side, side)),
            Value::Array(sides) if sides.len() == 2 => {
                Ok((self.side(name, sides.first())?, self.side(name, sides.get(1))?))
            }
            Value::Object(sides) => {
                Ok((self.side(name, sides.get("height"))?, self.side(name, sides.get("width"))?))
            }
            _ => Err(self.fault(name, "is neither a number nor height and width")),
        }
    }

    fn side(&self, name: &str, value: Option<&Value>) -> Result<u64> {
        match value.and_then(Value::as_u64) {
            Some(side @ 1..=MOST_SIDE) => Ok(side),
            _ => Err(self.fault(name, &format!("does not give sides from 1 to {MOST_SIDE} pixels"))),
        }
    }

    fn filter(&self, default: Option<Filter>) -> Result<Filter> {
        match self.get("resample") {
            Some(number) => {
                let known = number.as_u64().and_then(Filter::of_pillow);
                known.ok_or_else(|| self.fault("resample", "is no number of a filter of Pillow"))
            }
            None => default.ok_or_else(|| self.fault("resample", "is missing")),
        }
    }

    /// Mean and standard deviation, unless the switch is off.
    fn normal(
        &self,
        switch: &str,
        names: (&str, &str),
        default: Option<([f64; 3], [f64; 3])>,
    ) -> Result<Option<([f64; 3], [f64; 3])>> {
        if !self.flag(switch, true)? {
            return Ok(None);
        }
        let mean = self.three(names.0, default.map(|default| default.0))?;
        let deviation = self.three(names.1, default.map(|default| default.1))?;
        if deviation.contains(&0.0) {
            return Err(self.fault(names.1, "is zero"));
        }
        Ok(Some((mean, deviation)))
    }

    /// Three numbers, or one for all three.
    fn three(&self, name: &str, default: Option<[f64; 3]>) -> Result<[f64; 3]> {
        let Some(value) = self.get(name) else {
            return default.ok_or_else(|| self.fault(name, "is missing"));
        };
        let numbers = match value {
            Value::Array(numbers) => numbers.iter().map(Value::as_f64).collect(),
            one => one.as_f64().map(|one| vec![one; 3]),
        };
        let three = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
        three.ok_or_else(|| self.fault(name, "is not three numbers"))
    }
}
