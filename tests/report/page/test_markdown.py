from __future__ import annotations

from pathlib import Path

from tests.report.run_files import NOW, make_run, scores, settings
from trainer.report.page.content import CodeBlock, Page, Paragraph, section, table_block
from trainer.report.page.markdown import page_markdown
from trainer.report.page.writing import run_page

GOLDEN = """\
# wine – RUN

A network trained on 6 rows: finished after 20 epochs, best epoch 12.

On the validation rows: auc 0.9000.

## Metrics

**Metrics named in the config**

| metric | validation |
| --- | ---: |
| auc | 0.9000 |

## Data

**Rows by split**

| split | rows | share |
| --- | ---: | ---: |
| train | 6 | 60.0% |
| validation | 2 | 20.0% |
| test | 2 | 20.0% |

**Files**

| file | rows | size | SHA-256 prefix |
| --- | ---: | ---: | --- |
| wine.csv | 10 | 100 B | ffffffffffffffff |
"""


def test_small_run(tmp_path: Path) -> None:
    config = settings(data={"source": "wine.csv", "target": "kind"})
    run = make_run(tmp_path, config=config, evaluations=scores(auc=0.9))
    text = page_markdown(run_page(run, NOW)).replace(run.path.name, "RUN")
    assert text.startswith(GOLDEN)
    assert "| data.target | kind |" in text
    assert "    trainer eval" in text


def test_untrusted_markup_is_escaped() -> None:
    hostile = "a|b `c` <img> *d* [e](http://f) @g \n# h"
    page = Page(
        hostile,
        (hostile,),
        (
            section(
                "one",
                hostile,
                [
                    Paragraph(hostile, "warning"),
                    table_block(hostile, (hostile,), [(hostile,)]),
                    table_block(hostile, (hostile,), [(hostile,)], is_collapsed=True),
                    CodeBlock(hostile, (hostile,)),
                    CodeBlock("left out", ("x",), is_collapsed=True),
                ],
            ),
        ),
    )
    text = page_markdown(page)
    assert "<img>" not in text.replace("\\<img\\>", "").replace("    a|b `c` <img>", "")
    for line in text.splitlines():
        assert not line.startswith("# h")
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 2
    assert "@g" not in text.replace("    a|b `c` <img> *d* [e](http://f) @g", "")
    assert "left out" not in text
