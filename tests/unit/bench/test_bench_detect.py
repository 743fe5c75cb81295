"""The report of the detectors' benchmark."""

from enforcer.bench import detect


def test_the_report_is_told_as_every_benchmark_is():
    """Figures by name beside the baseline of the same run, and how many bare sets a scan costs."""
    rows = [
        {"detector": "bare", "text": "clean", "us": 2.0, "mb_per_s": 300.0, "times_bare": 1.0},
        {
            "detector": "pii, default kinds",
            "text": "clean",
            "us": 3.0,
            "mb_per_s": 200.0,
            "times_bare": 1.5,
        },
    ]
    found = detect.report(rows, 1)
    assert found["figures"] == {"bare, clean": 2.0, "pii, default kinds, clean": 3.0}
    assert found["baseline"] == {"bare, clean": 2.0}
    assert found["multiple"] == 1.5
    assert found["rows"] == rows
