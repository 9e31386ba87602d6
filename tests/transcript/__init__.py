"""Tests of transcripts and their renderers."""
