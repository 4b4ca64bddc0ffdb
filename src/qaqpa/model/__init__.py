"""The words of the design as types: identifiers, vocabulary, requests, consents, decisions, disclosures.

Values only: nothing here reads a file, a clock or a socket.
"""
