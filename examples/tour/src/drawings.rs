//! Captions find drawings: the sample model that comes with the package, and a sheet of what it found.

use std::path::PathBuf;
use std::time::Instant;

use ayni::local::LocalEmbedderConfig;
use ayni::{Context, EmbedRequest, Environment, Error, ImageData, Result};
use image::{ImageReader, Rgb, RgbImage, imageops};

use crate::show;

macro_rules! drawings {
    ($($name:literal)+) => {
        [$(($name, include_bytes!(concat!("../../../docs/guides/drawings/", $name, ".png")) as &[u8])),+]
    };
}

/// Drawings that the model was not trained on.
const DRAWINGS: [(&str, &[u8]); 12] = drawings! {
    "banana" "bicycle" "dolphin" "frog" "green-apple" "guitar" "rose" "sailboat" "sunflower" "tiger" "tractor" "volcano"
};

/// Asked in both languages.
const CAPTIONS: [&str; 3] = ["a guitar", "una rana", "yellow flower"];

/// How many drawings are shown for a caption.
const BEST: usize = 3;

/// The side of a drawing on the sheet, and the space around it, in pixels.
const SIDE: u32 = 96;
const GAP: u32 = 8;

/// What each caption finds among the drawings, as text and as one image.
pub(crate) async fn find() -> Result<()> {
    show::section(
        "Texts and images in one space",
        &format!(
            "tiny:clip, a sample model of the package, and {} drawings that it never saw",
            DRAWINGS.len()
        ),
    );
    let (cx, start) = (Context::new(), Instant::now());
    let embedder = LocalEmbedderConfig::new("tiny:clip").with_device("cpu").open(&Environment::process())?;
    let images = DRAWINGS.map(|(_, png)| ImageData::new(png)).into_iter().collect::<Result<Vec<_>>>()?;
    let images = embedder.embed(&cx, EmbedRequest::images(images)).await?.vectors;
    show::fact("opened, drawings embedded", format!("{:.0} ms", start.elapsed().as_secs_f64() * 1e3));
    let mut rows = Vec::new();
    for caption in CAPTIONS {
        let query = embedder.embed_text(&cx, caption).await?;
        let best = images.top_k(&query, BEST)?;
        let named = |index: usize| DRAWINGS.get(index).map_or("?", |(name, _)| name);
        let told = best.iter().map(|found| format!("{} {:.2}", named(found.index), found.score));
        show::fact(caption, told.collect::<Vec<_>>().join(", "));
        rows.push(best.iter().map(|found| found.index).collect::<Vec<_>>());
    }
    show::fact("the same as a sheet", sheet(&rows)?.display());
    Ok(())
}

/// Draws a row for each caption, and says where the file is.
fn sheet(rows: &[Vec<usize>]) -> Result<PathBuf> {
    let wrong = |error: &dyn std::fmt::Display| Error::config(format!("the sheet can't be drawn: {error}"));
    let cells = |count: usize| u32::try_from(count).unwrap_or(0) * (SIDE + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(cells(BEST), cells(rows.len()), Rgb([236, 236, 236]));
    for (row, best) in rows.iter().enumerate() {
        for (column, index) in best.iter().enumerate() {
            let Some((_, png)) = DRAWINGS.get(*index) else { continue };
            let reader = ImageReader::new(std::io::Cursor::new(*png)).with_guessed_format();
            let drawing = reader.map_err(|error| wrong(&error))?.decode().map_err(|error| wrong(&error))?;
            let drawing = imageops::resize(&drawing.to_rgb8(), SIDE, SIDE, imageops::FilterType::Triangle);
            let [x, y] = [column, row].map(|place| i64::from(cells(place)));
            imageops::replace(&mut sheet, &drawing, x, y);
        }
    }
    let path = std::env::temp_dir().join("ayni-demo.png");
    sheet.save(&path).map_err(|error| wrong(&error))?;
    Ok(path)
}
