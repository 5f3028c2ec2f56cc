"""A system on embeddings as a network on waveforms: encoder, standardisation and system in one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from remixbench.dataset.features import logmel
from remixbench.errors import InputError
from remixbench.systems.encoders import PretrainedEncoder, load_encoder
from remixbench.systems.output import Output
from remixbench.systems.registry import spec
from remixbench.training.embeddings import resample
from remixbench.training.model_file import ModelConfig, TrainedModel


class FromWaveform(nn.Module):
    """Maps the waveforms of clips, (batch, samples) at the training sample rate, to the output of a system.

    Embeddings, and log-mel if the system takes it, are computed per clip.
    """

    def __init__(self, model: TrainedModel, encoder: PretrainedEncoder, device: torch.device) -> None:
        super().__init__()
        self.network = model.network
        self.model, self.encoder, self.device = model, encoder, device
        frame_seconds = getattr(model.network, "frame_seconds", None)
        if frame_seconds is not None:
            self.frame_seconds = frame_seconds
        encoder.to(device)

    def forward(self, waveforms: Tensor) -> Output:
        """Return the system's output."""
        output: Output = self.network(*self.inputs(waveforms))
        return output

    def inputs(self, waveforms: Tensor) -> tuple[Tensor, ...]:
        """Return the standardised inputs of the system for a batch of waveforms."""
        config, model = self.model.config, self.model
        rate = config.mix.sample_rate
        clips = waveforms.cpu().numpy()
        resampled = np.stack([resample(clip, rate, self.encoder.sample_rate) for clip in clips])
        embeddings = self.encoder.encode(torch.from_numpy(resampled).to(self.device))
        takes_logmel = model.second_standardisation is not None
        scale = model.second_standardisation or model.standardisation
        mean, std = (torch.from_numpy(values).to(self.device) for values in (scale.mean, scale.std))
        standardised = (embeddings - mean) / std
        if not takes_logmel:
            return (standardised,)
        spectrograms = np.stack([logmel(clip, config.features, rate) for clip in clips])
        return torch.from_numpy(model.standardisation.apply(spectrograms)).to(self.device), standardised


def encoder_of(config: ModelConfig) -> PretrainedEncoder | None:
    """Load the encoder that a system was trained with; return None if the system does not use embeddings.

    Raises
    ------
    InputError
        If it cannot be loaded, or its code or weights are not those of the training.
    """
    if not spec(config.system).takes_embeddings or config.encoder is None:
        return None
    try:
        encoder = load_encoder(config.encoder.reference)
    except InputError as error:
        raise InputError(f"the run needs the encoder that it was trained with: {error}") from None
    if encoder.digest != config.encoder.digest:
        raise InputError(
            f"encoder '{encoder.name}' ({encoder.reference}): its code or weights are not those that the run was"
            f" trained with (digest {encoder.digest[:12]}, the run has {config.encoder.digest[:12]}); restore them,"
            " or train again"
        )
    return encoder
