"""The lookups of places: countries, their subdivisions, and time zones, from packages that follow the standards.

pycountry holds ISO 3166-1 and 3166-2 with names in many languages, tzdata the time zones of IANA. Everything is read
when somebody first asks. Which packages, and why: decision 0016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from hub.schema.lookups import Lookup, LookupEntry, Translator


def _countries() -> Iterator[LookupEntry]:
    """Yield ISO 3166-1: by alpha-2, called as people call them; the longer names, alpha-3 and number are aliases."""
    import pycountry

    for found in pycountry.countries:
        known = dict(found)
        name = known.get("common_name", known["name"])
        others = (known["name"], known.get("official_name"), known["alpha_3"], known["numeric"])
        aliases = tuple(dict.fromkeys(other for other in others if other and other != name))
        cfg = {"alpha_3": known["alpha_3"], "numeric": known["numeric"], "flag": known["flag"]}
        yield LookupEntry(known["alpha_2"], name, aliases, cfg=cfg)


def _subdivisions() -> Iterator[LookupEntry]:
    """Yield ISO 3166-2: each within its country, with what it is called there."""
    import pycountry

    for found in pycountry.subdivisions:
        known = dict(found)
        cfg = {"kind": known["type"], "parent": known.get("parent_code")}
        yield LookupEntry(known["code"], known["name"], part_of=known["country_code"], cfg=cfg)


def _time_zones() -> Iterator[LookupEntry]:
    """Yield the zones that have a country, each within it, and UTC; other names of theirs are aliases."""
    home = resources.files("tzdata") / "zoneinfo"
    lines = (home / "zone.tab").read_text("utf-8").splitlines()
    within = {zone: country for country, _, zone, *_ in (line.split("\t") for line in lines if line[:1] != "#")}
    aliases: dict[str, list[str]] = {zone: [] for zone in ("UTC", *within)}
    target: dict[str, str] = {"Etc/UTC": "UTC"}
    for line in (home / "tzdata.zi").read_text("utf-8").splitlines():
        if line.startswith("L "):  # a link: L TARGET NAME
            _, to, name = line.split()
            target[name] = to
    for name, to in target.items():
        meant = to if to in aliases else target.get(to, "")
        if name not in aliases and meant in aliases:
            aliases[meant].append(name)
    for zone, others in aliases.items():
        yield LookupEntry(zone, zone.replace("_", " "), tuple(sorted(others)), within.get(zone, ""))


def _names_of(domain: str) -> Callable[[str], Translator | None]:
    """Return what finds the names of one standard in a language."""

    def translator(language: str) -> Translator | None:
        from gettext import GNUTranslations

        import pycountry

        home = Path(pycountry.LOCALES_DIR)
        known = {path.name.lower().replace("_", "-"): path for path in home.iterdir()}
        found = known.get(language) or known.get(language.partition("-")[0])
        file = None if found is None else found / "LC_MESSAGES" / f"{domain}.mo"
        if file is None or not file.exists():
            return None
        with file.open("rb") as opened:
            return GNUTranslations(opened).gettext

    return translator


country = Lookup("country", "Countries, by ISO 3166-1.", _countries, translator=_names_of("iso3166-1"))
country_subdivision = Lookup(
    "country_subdivision",
    "States, provinces and other parts of countries, by ISO 3166-2; `part_of` is the country.",
    _subdivisions,
    translator=_names_of("iso3166-2"),
)
time_zone = Lookup("time_zone", "Time zones, by the names of IANA; `part_of` is the country.", _time_zones)
