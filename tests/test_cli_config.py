import pytest
import yaml

from fclf.cli import main
from fclf.config import load_config, recipes


def test_list_names_every_recipe_with_what_it_is(capsys):
    assert main(["config", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", list(recipes()))
def test_show_prints_a_configuration_that_loads_again(name, tmp_path, capsys):
    assert main(["config", "show", name, "--set", "training.seed=7"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "shown.yaml").write_text(text)
    assert load_config(tmp_path / "shown.yaml") == load_config(name, ["training.seed=7"])
    assert yaml.safe_load(text)["training"]["seed"] == 7


def test_diff_tells_the_fixes_apart(capsys):
    assert main(["config", "diff", "before", "fclf_config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "loss.lambda_identity: 1.0 -> 0.05" in lines  # FIX 1
    assert "training.flip_probability: 0.5 -> 1.0" in lines  # FIX 2
    assert "loss.contrastive.kind: pairwise_mse -> prototype_infonce" in lines  # FIX 3
    assert main(["config", "diff", "before", "before"]) == 0
    assert capsys.readouterr().out == ""


def test_an_unknown_recipe_is_an_input_error(capsys):
    assert main(["config", "show", "nowhere"]) == 2
    assert "fclf_config" in capsys.readouterr().err
