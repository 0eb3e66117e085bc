"""The lookups of a conference: what a file is for, and what a post is about.

Accounts, sites and events lay rows of their own over them. How a post keeps its topic: decision 0017.
"""

from __future__ import annotations

from hub import Lookup, LookupEntry

file_purpose = Lookup(
    "file_purpose",
    "What a file of an event is for.",
    (
        LookupEntry("slides", "Slides", ("presentation",), sort=10),
        LookupEntry("handout", "Handout", sort=20),
        LookupEntry("poster", "Poster", sort=30),
        LookupEntry("recording", "Recording", ("video", "audio"), sort=40),
        LookupEntry("photo", "Photo", ("picture",), sort=50),
        LookupEntry("logo", "Logo", sort=60),
        LookupEntry("document", "Document", sort=70),
    ),
)

post_topic = Lookup(
    "post_topic",
    "What a post is about.",
    (
        LookupEntry("announcement", "Announcement", ("news",), sort=10),
        LookupEntry("programme", "Programme", ("schedule",), sort=20),
        LookupEntry("question", "Question", sort=30),
        LookupEntry("venue", "Venue and travel", sort=40),
        LookupEntry("social", "Social events", sort=50),
        LookupEntry("feedback", "Feedback", sort=60),
    ),
)
