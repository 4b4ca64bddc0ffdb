"""Qaqpa (қақпа, gate): the one door through which personal data leaves for third parties."""

__version__ = "0.1.0"
