"""What the tasks of this capability share: reading waveforms, cutting them at gaps, QuakeML, pictures."""
