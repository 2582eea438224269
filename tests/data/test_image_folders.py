import os

import pytest

from trainer.data.image_folders import count_images, folder_fingerprint, read_image_folder
from trainer.errors import DataError


def touch(folder, *names, content=b"x"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def rows(folder):
    frame, _ = read_image_folder(folder)
    return [(path.removeprefix(f"{folder}/"), label) for path, label in frame.iter_rows()]


def test_labels_are_the_top_folders_in_natural_order(tmp_path):
    touch(tmp_path, "b10/2.jpg", "b10/10.PNG", "b10/deep/x.webp", "b2/a.jpeg", "top.gif")
    assert rows(tmp_path) == [
        ("top.gif", None),
        ("b2/a.jpeg", "b2"),
        ("b10/2.jpg", "b10"),
        ("b10/10.PNG", "b10"),
        ("b10/deep/x.webp", "b10"),
    ]
    assert count_images(tmp_path) == 5


def test_skipped_files_are_counted_and_named(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/.2.jpg", "a/.DS_Store", "a/notes.txt", "a/noext", ".git/3.jpg")
    touch(tmp_path, "__MACOSX/4.jpg", ".ipynb_checkpoints/5.jpg")
    touch(tmp_path, "a/empty.png", content=b"")
    (tmp_path / "none").mkdir()
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    frame, warnings = read_image_folder(tmp_path)
    assert frame["path"].to_list() == [f"{tmp_path}/a/1.jpg", f"{tmp_path}/a/empty.png"]
    text = "\n".join(warnings)
    assert "skipped 1 hidden image: '.2.jpg'" in text
    assert "skipped 2 files without the extension of an image" in text
    assert "skipped 1 special file (pipes, sockets or devices): 'pipe.jpg'" in text
    assert "skipped 1 dangling link: 'gone.jpg'" in text
    assert "1 file with no bytes: 'empty.png'" in text
    assert "1 subfolder has no images: 'none'" in text


def test_links_are_followed_once(tmp_path):
    outside = touch(tmp_path / "outside", "1.jpg", "2.jpg")
    folder = touch(tmp_path / "photos", "a/1.jpg")
    (folder / "a" / "linked").symlink_to(outside)
    (folder / "a" / "again").symlink_to(outside)
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "self").symlink_to(folder / "a")
    (folder / "a" / "file.jpg").symlink_to(outside / "1.jpg")
    assert len(rows(folder)) == count_images(folder) == 4


def test_odd_names(tmp_path):
    touch(tmp_path, "a/new\nline.jpg", "a/🐈.jpg", "a/ä 'b\".jpg", "b.jpg/1.jpg")
    (tmp_path / "a" / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    assert [name for name, _ in rows(tmp_path)] == [
        "a/new\nline.jpg",
        "a/ä 'b\".jpg",
        "a/🐈.jpg",
        "b.jpg/1.jpg",
    ]
    _, warnings = read_image_folder(tmp_path)
    assert "skipped 1 file with a name that is not UTF-8: '?.jpg'" in warnings[0]


def test_no_images(tmp_path):
    touch(tmp_path, "a/1.csv", "b/2.csv")
    with pytest.raises(DataError, match="none, 2 other files; for tables, use the files in it"):
        read_image_folder(tmp_path)


def test_folders_named_like_splits(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "val/cat/1.jpg", "test/cat/1.jpg")
    with pytest.raises(DataError, match=r"validation: .*/val"):
        read_image_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_no_permission(tmp_path):
    touch(tmp_path, "a/1.jpg").joinpath("a").chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read_image_folder(tmp_path)


def test_the_fingerprint_changes_with_names_and_sizes_only(tmp_path):
    folder = touch(tmp_path, "a/1.jpg", "a/2.jpg")
    before = folder_fingerprint(folder)
    os.utime(folder / "a" / "1.jpg", (1, 1))
    assert folder_fingerprint(folder) == before == (2, before[1])
    (folder / "a" / "2.jpg").rename(folder / "a" / "3.jpg")
    assert folder_fingerprint(folder)[1] != before[1]


def test_a_single_image_has_the_label_of_its_folder(tmp_path):
    image = touch(tmp_path, "cat/1.jpg") / "cat" / "1.jpg"
    frame, _ = read_image_folder(image)
    assert frame.rows() == [(str(image), "cat")]
    assert count_images(image) == 1
