from rl_suite.examples.few_shot_images import draw_pictures, main


def test_the_example_learns_to_recognise_classes_that_it_never_saw(tmp_path, capsys):
    draw_pictures(tmp_path / "pictures")
    assert main(tmp_path / "pictures") > 0.7
    assert capsys.readouterr().out.count("is taken for") == 5
