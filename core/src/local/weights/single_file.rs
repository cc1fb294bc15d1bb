//! The names of tensors in single-file checkpoints of Stable Diffusion (`model.diffusion_model.…`), as those that
//! diffusers gives them.

/// Where a checkpoint keeps its parts.
pub(crate) const UNET: &str = "model.diffusion_model.";
pub(crate) const VAE: &str = "first_stage_model.";

/// The text encoders by their place, and whether open_clip named their tensors.
pub(crate) const TEXT_ENCODERS: [(&str, bool); 5] = [
    ("cond_stage_model.transformer.", false),
    ("cond_stage_model.model.", true),
    ("conditioner.embedders.0.transformer.", false),
    ("conditioner.embedders.0.model.", true),
    ("conditioner.embedders.1.model.", true),
];

/// Residual blocks between two levels; all published checkpoints have two.
const BLOCKS: usize = 2;

/// The parts of a UNet's residual block.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// The parts outside of the UNet's levels.
const UNET_ENDS: [(&str, &str); 7] = [
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
];

/// The parts of a VAE's attention, in checkpoints and in the first repositories of diffusers.
const VAE_ATTENTION: [(&str, &str); 9] = [
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
    ("query", "to_q"),
    ("key", "to_k"),
    ("value", "to_v"),
    ("proj_attn", "to_out.0"),
];

/// The name that diffusers gives a tensor of a UNet. `separator` stands between the parts of both names: `.`, or `_` in
/// the files of LoRAs.
pub(crate) fn unet_name(name: &str, separator: char) -> Option<String> {
    let with = |text: &str| text.replace('.', &separator.to_string());
    for (old, new) in UNET_ENDS {
        if let Some(rest) = after(name, &with(old), separator) {
            return Some(format!("{}{rest}", with(new)));
        }
    }
    if let Some(rest) = after(name, "middle_block", separator) {
        let (place, rest) = number(rest.strip_prefix(separator)?, separator)?;
        return Some(match place {
            1 => with(&format!("mid_block.attentions.0.{rest}")),
            0 | 2 => with(&format!("mid_block.resnets.{}.{}", place / 2, resnet(rest, separator)?)),
            _ => return None,
        });
    }
    let is_up = name.starts_with("output_blocks");
    let rest =
        name.strip_prefix(if is_up { "output_blocks" } else { "input_blocks" })?.strip_prefix(separator)?;
    let (block, rest) = number(rest, separator)?;
    let (place, rest) = number(rest, separator)?;
    let index = if is_up { block } else { block.checked_sub(1)? };
    let (level, inner) = (index / (BLOCKS + 1), index % (BLOCKS + 1));
    let side = if is_up { "up_blocks" } else { "down_blocks" };
    let resampled = if is_up { ("conv", "upsamplers") } else { ("op", "downsamplers") };
    if let Some(rest) = after(rest, resampled.0, separator) {
        return Some(with(&format!("{side}.{level}.{}.0.conv{rest}", resampled.1)));
    }
    Some(with(&match place {
        0 => format!("{side}.{level}.resnets.{inner}.{}", resnet(rest, separator)?),
        1 => format!("{side}.{level}.attentions.{inner}.{rest}"),
        _ => return None,
    }))
}

fn resnet(rest: &str, separator: char) -> Option<String> {
    RESNET.iter().find_map(|(old, new)| {
        let rest = after(rest, &old.replace('.', &separator.to_string()), separator)?;
        Some(format!("{new}{rest}"))
    })
}

/// What follows `start`, if that is a whole part of a name.
fn after<'a>(name: &'a str, start: &str, separator: char) -> Option<&'a str> {
    name.strip_prefix(start).filter(|rest| rest.is_empty() || rest.starts_with(separator))
}

/// The number at the beginning of a name, and what follows the separator after it.
fn number(name: &str, separator: char) -> Option<(usize, &str)> {
    let (number, rest) = name.split_once(separator)?;
    Some((number.parse().ok()?, rest))
}

/// The name that diffusers gives a tensor of a VAE with `levels` levels.
pub(crate) fn vae_name(name: &str, levels: usize) -> Option<String> {
    let mut parts = name.splitn(3, '.');
    let (side, part, rest) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    if side != "encoder" && side != "decoder" {
        return Some(name.to_owned());
    }
    Some(match part {
        "norm_out" => format!("{side}.conv_norm_out.{rest}"),
        "mid" => {
            let (part, rest) = rest.split_once('.')?;
            match part {
                "block_1" => format!("{side}.mid_block.resnets.0.{}", vae_resnet(rest)),
                "block_2" => format!("{side}.mid_block.resnets.1.{}", vae_resnet(rest)),
                _ => format!("{side}.mid_block.attentions.0.{}", vae_attention(rest)),
            }
        }
        "down" | "up" => {
            let (level, rest) = number(rest, '.')?;
            let level = if part == "up" { levels.checked_sub(level + 1)? } else { level };
            let side = format!("{side}.{part}_blocks.{level}");
            match rest.split_once('.')? {
                ("block", rest) => {
                    let (block, rest) = number(rest, '.')?;
                    format!("{side}.resnets.{block}.{}", vae_resnet(rest))
                }
                (_, rest) => format!("{side}.{part}samplers.0.{rest}"),
            }
        }
        _ => name.to_owned(),
    })
}

fn vae_resnet(rest: &str) -> String {
    rest.replace("nin_shortcut", "conv_shortcut")
}

/// The name of a part of a VAE's attention; that of diffusers stays as it is.
pub(crate) fn vae_attention(rest: &str) -> String {
    let (part, end) = rest.split_once('.').unwrap_or((rest, ""));
    match VAE_ATTENTION.iter().find(|(old, _)| *old == part) {
        Some((_, new)) => format!("{new}.{end}"),
        None => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_unet_are_those_of_diffusers() {
        for (old, new) in [
            ("input_blocks.0.0.weight", "conv_in.weight"),
            ("input_blocks.1.0.in_layers.2.bias", "down_blocks.0.resnets.0.conv1.bias"),
            ("input_blocks.3.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"),
            ("input_blocks.4.1.proj_in.weight", "down_blocks.1.attentions.0.proj_in.weight"),
            ("middle_block.1.norm.weight", "mid_block.attentions.0.norm.weight"),
            ("middle_block.2.out_layers.3.weight", "mid_block.resnets.1.conv2.weight"),
            ("output_blocks.2.1.conv.bias", "up_blocks.0.upsamplers.0.conv.bias"),
            ("output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"),
            ("output_blocks.5.1.proj_out.bias", "up_blocks.1.attentions.2.proj_out.bias"),
            ("output_blocks.11.0.skip_connection.weight", "up_blocks.3.resnets.2.conv_shortcut.weight"),
            ("label_emb.0.2.bias", "add_embedding.linear_2.bias"),
            ("out.2.weight", "conv_out.weight"),
        ] {
            assert_eq!(unet_name(old, '.').as_deref(), Some(new));
        }
        let flat = "input_blocks_4_1_transformer_blocks_0_attn1_to_q";
        let found = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q";
        assert_eq!(unet_name(flat, '_').as_deref(), Some(found));
        assert_eq!(
            unet_name("input_blocks_1_0_emb_layers_1", '_').as_deref(),
            Some("down_blocks_0_resnets_0_time_emb_proj")
        );
        assert_eq!(unet_name("something.else", '.'), None);
    }

    #[test]
    fn names_of_a_vae_are_those_of_diffusers() {
        for (old, new) in [
            (
                "encoder.down.1.block.0.nin_shortcut.weight",
                "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
            ),
            ("encoder.down.0.downsample.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.bias"),
            ("decoder.up.3.upsample.conv.bias", "decoder.up_blocks.0.upsamplers.0.conv.bias"),
            ("decoder.mid.attn_1.proj_out.weight", "decoder.mid_block.attentions.0.to_out.0.weight"),
            ("decoder.mid.block_2.norm1.weight", "decoder.mid_block.resnets.1.norm1.weight"),
            ("decoder.norm_out.bias", "decoder.conv_norm_out.bias"),
            ("post_quant_conv.weight", "post_quant_conv.weight"),
        ] {
            assert_eq!(vae_name(old, 4).as_deref(), Some(new));
        }
    }
}
