//! How close a precision's vectors are to those of f32.

use super::model::Model;
use super::repository::Repository;
use crate::context::Context;
use crate::embed::{EmbedInput, Parity, ProbeParity, Vectors};
use crate::error::{Error, Result};
use crate::local::ops::Device;
use crate::local::vision::Limits;
use crate::media::ImageData;
use ayni_kernels::gemm::Precision;

/// Texts of several languages, scripts and lengths, each with the name that reports give it.
const TEXTS: &[(&str, &str)] = &[
    ("one character", "]"),
    ("one letter", "ñ"),
    ("one word", "agua"),
    ("english", "The municipality is looking for a supplier of medical equipment."),
    ("spanish", "Adquisición de ambulancias y equipamiento médico para el hospital regional."),
    ("portuguese", "Contratação de serviços de limpeza para as escolas do município."),
    ("french", "Fourniture et pose de panneaux solaires sur le toit de la mairie."),
    ("german", "Lieferung von Büromöbeln für die Stadtverwaltung bis Ende März."),
    ("mapudungun", "Mari mari, iñche ta mapuche ngen, wallmapu mew küdawken."),
    ("russian", "Поставка компьютеров и принтеров для школьной библиотеки."),
    ("arabic", "توريد الأدوية والمستلزمات الطبية للمستشفى المركزي"),
    ("chinese", "为市立医院采购医疗设备和维护服务"),
    ("japanese", "市立図書館の電気設備の保守点検業務"),
    ("hindi", "सरकारी स्कूलों के लिए पाठ्यपुस्तकों की आपूर्ति"),
    ("code", "fn main() { let total: f64 = prices.iter().map(|p| p * 1.19).sum(); }"),
    ("numbers", "3.500 unidades, UF 1.234,56 + IVA (19 %), entrega: 2024-11-30, lote N° 7-B"),
    ("emoji", "🚑🏥 urgente!!! ➡️ entregar hoy 🙏"),
    (
        "paragraph",
        "La presente licitación tiene por objeto la contratación del servicio de mantención preventiva y correctiva de \
         los equipos de climatización de los edificios municipales. El proponente deberá acreditar experiencia en al \
         menos tres contratos de similar naturaleza, contar con técnicos certificados y disponer de repuestos \
         originales. The contract runs for twenty-four months and may be extended once, by agreement of both \
         parties, under the same conditions and prices.",
    ),
];

/// The side of the square images, in pixels.
const SIDE: u32 = 64;

/// The texts and images that parity is measured on; always the same.
pub(super) fn probes(with_images: bool) -> Vec<(String, EmbedInput)> {
    let texts = TEXTS.iter().map(|(name, text)| ((*name).to_owned(), EmbedInput::Text((*text).to_owned())));
    let images = (1..=4u32).map(|seed| (format!("image {seed}"), EmbedInput::Image(image(seed))));
    texts.chain(images.filter(|_| with_images)).collect()
}

/// An image of gradients, edges and noise, as an uncompressed bitmap.
fn image(seed: u32) -> ImageData {
    let size = 54 + 3 * SIDE * SIDE;
    let mut bytes = b"BM".to_vec();
    for field in [size, 0, 54, 40, SIDE, SIDE, 1 | (24 << 16), 0, 3 * SIDE * SIDE, 2835, 2835, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    let mut noise = seed.wrapping_mul(0x9e37_79b9);
    for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let edge = if (x / (4 * seed) + y / (7 * seed)).is_multiple_of(2) { 160 } else { 20 };
        let pixel = [x * 4, y * 4, edge + (noise >> 26)];
        bytes.extend(pixel.map(|channel| channel.to_le_bytes()[0]));
    }
    ImageData::with_media_type(bytes, "image/bmp")
}

/// Compares the vectors of the probes.
pub(super) fn measure(
    precision: Precision,
    probes: &[(String, EmbedInput)],
    own: &Vectors,
    exact: &Vectors,
) -> Parity {
    let compared = own.iter().zip(exact).map(|(own, exact)| cosine(own, exact));
    let probe = |((name, _), cosine): (&(String, EmbedInput), f64)| ProbeParity::new(name.as_str(), cosine);
    Parity::new(precision.name(), bar(precision), probes.iter().zip(compared).map(probe).collect())
}

/// The lowest acceptable cosine.
fn bar(precision: Precision) -> f64 {
    match precision {
        Precision::Bf16x3 => 0.999_999,
        Precision::F32 => 0.99999,
        Precision::Bf16 => 0.9995,
        Precision::Int8 => 0.995,
    }
}

/// The cosine of two vectors, in f64: the error of f32 sums is larger than what the bars allow.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Loads a model and measures its precision against f32. `auto` on the CPU becomes f32 where it is too coarse.
///
/// # Errors
/// As [`Model::load`]; `model_load` where the precision is too coarse.
pub(super) fn load(
    cx: &Context,
    repository: &Repository,
    device: &Device,
    (dimensions, limits): (Option<usize>, Limits),
    is_auto: bool,
) -> Result<Model> {
    let model = Model::load(repository, device, dimensions, limits)?;
    if device.is_cpu() && device.precision == Precision::F32 {
        return Ok(model);
    }
    cx.check()?;
    let exact = Device::on_cpu(device.cpu.clone(), Precision::F32)
        .with_precision_reason("the faster precision was measured and is too coarse for this model");
    let exact = Model::load(repository, &exact, dimensions, limits)?;
    let probes = probes(model.takes_images());
    let parity =
        measure(device.precision, &probes, &vectors(cx, &model, &probes)?, &vectors(cx, &exact, &probes)?);
    match parity.ensure() {
        Ok(()) => Ok(model),
        Err(error) if is_auto && device.is_cpu() => {
            tracing::warn!(model = %model.info.model, "{}; `auto` takes f32", error.message());
            Ok(exact)
        }
        Err(error) => Err(error),
    }
}

/// The model's vectors of the probes, one after another.
fn vectors(cx: &Context, model: &Model, probes: &[(String, EmbedInput)]) -> Result<Vectors> {
    let mut rows = Vec::with_capacity(probes.len());
    for (index, (_, input)) in probes.iter().enumerate() {
        cx.check()?;
        rows.push(match input {
            EmbedInput::Text(text) => {
                let tokens = model.tokenise(None, &[(index, text)])?;
                let ids: Vec<Vec<u32>> = tokens.into_iter().map(|text| text.ids).collect();
                model.embed_texts(&ids, &[model.skip(None)])?
            }
            EmbedInput::Image(image) => {
                let decoders =
                    model.decoders().ok_or_else(|| Error::unsupported("this model embeds text only"))?;
                model.embed_images(&[decoders.decode(image)?])?
            }
        });
    }
    Vectors::from_rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::vision::decode;

    #[test]
    fn vectors_are_compared_with_those_of_the_same_probe() {
        let vectors = |numbers: Vec<f32>| Vectors::new(numbers, 2).unwrap();
        let (own, exact) = (vectors(vec![1.0, 0.0, 3.0, 4.0]), vectors(vec![2.0, 0.0, 4.0, 3.0]));
        let found = measure(Precision::Int8, &probes(false)[..2], &own, &exact);
        assert_eq!((found.precision, found.bar), ("int8", 0.995));
        assert_eq!(found.probes.iter().map(|probe| probe.cosine).collect::<Vec<_>>(), [1.0, 0.96]);
        assert_eq!(found.lowest().unwrap().name, TEXTS[1].0);
    }

    #[test]
    fn probe_images_are_images_and_differ() {
        let images: Vec<_> =
            probes(true).into_iter().filter(|(_, input)| matches!(input, EmbedInput::Image(_))).collect();
        assert_eq!((images.len(), probes(false).len()), (4, TEXTS.len()));
        for (name, input) in &images {
            let EmbedInput::Image(image) = input else { continue };
            decode(image, &Default::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(images.iter().filter(|(_, other)| other == input).count(), 1, "{name}");
        }
    }
}
