"""Tests the settings: layers, errors, cross checks, conversion to the options of the package, and their documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.settings_samples import COMPANIONS, sample, write_keys

from generals_env.config import GameConfig, RewardConfig
from generals_env.errors import ConfigError
from generals_env.operations.settings.dump import dump_value
from generals_env.operations.settings.keys import KEYS, apply_live, changed_keys, get_value, live_keys, variable_name
from generals_env.operations.settings.load import load_settings, load_with_origins
from generals_env.operations.settings.models import Rewards, Settings
from generals_env.operations.settings.options import game_config, player_policies, reward_config, trainer_config
from generals_env.opponents import POLICY_NAMES
from generals_env.recorders.training.config import TrainerConfig

GUIDE = """\
# config/experience.yaml
experience:
  collection:
    enabled: true
    buffer_size: 10000

  streaming:
    max_connections: 100
    batch_timeout_ms: 100

  storage:
    enabled: true
    type: "s3"  # or "file"
    s3:
      bucket: "generals-experiences"
      prefix: "training/"
      region: "us-east-1"
    file:
      directory: "/data/experiences"
      format: "tfrecord"  # or "npz"

  rewards:
    win_game: 1.0
    lose_game: -1.0
    city_captured: 0.1
    city_lost: -0.1
"""

STREAMING = """\
# config/experience.yaml
streaming:
  batch_size: 256  # Increase from default 32
  compression: true
  max_message_size: 10485760  # 10MB
"""


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **overrides: Any) -> Settings:
    """Load a file with this text, and without the variables of this process."""
    path = tmp_path / "experience.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment or {}, overrides)


def faults(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **overrides: Any) -> list[str]:
    """Return the lines of the error of a file, with its name in place of its path."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environment, **overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.checklist("K1", "K3", "K4", "K5", "K6", "K7", "K8", "K9")
def test_file_of_the_guide_loads_unchanged(tmp_path: Path) -> None:
    settings = load(tmp_path, GUIDE)
    assert (settings.collection.enabled, settings.collection.buffer_size) == (True, 10_000)
    assert (settings.streaming.max_connections, settings.streaming.batch_timeout_ms) == (100, 100)
    assert (settings.storage.enabled, settings.storage.type) == (True, "s3")
    s3 = settings.storage.s3
    assert (s3.bucket, s3.prefix, s3.region) == ("generals-experiences", "training/", "us-east-1")
    assert (settings.storage.file.directory, settings.storage.file.format) == ("/data/experiences", "tfrecord")
    rewards = settings.rewards
    assert (rewards.win_game, rewards.lose_game, rewards.city_captured, rewards.city_lost) == (1.0, -1.0, 0.1, -0.1)
    assert changed_keys(Settings(), settings) == ("storage.type", "storage.file.directory", "storage.file.format")


@pytest.mark.checklist("K1")
def test_file_without_root_key_loads(tmp_path: Path) -> None:
    settings = load(tmp_path, STREAMING)
    assert (settings.streaming.batch_size, settings.streaming.compression) == (256, True)
    assert settings.streaming.max_message_size == 10_485_760


@pytest.mark.parametrize(
    "text", ["", "# comment\n", "---\n", "experience:\n", "experience:\n  storage:\n    s3:\n", "{}", "\ufeff"]
)
def test_empty_file_and_empty_sections_are_defaults(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == Settings() == load_settings(None, {})


@pytest.mark.checklist("K1", "K11")
@pytest.mark.parametrize("name", KEYS)
def test_each_key_is_set_by_each_layer_in_order(tmp_path: Path, name: str) -> None:
    value, beside, path = sample(name), COMPANIONS.get(name, {}), tmp_path / "experience.yaml"
    text, default = dump_value(value), KEYS[name].default
    assert value != default
    write_keys(path, {name: text})
    others = {variable_name(key): one for key, one in beside.items()}
    loaded = load_with_origins(path, others)
    line = len(path.read_text(encoding="utf-8").splitlines())
    assert (get_value(loaded.settings, name), loaded.origins[name]) == (value, f"{path}:{line}")

    write_keys(path, {name: dump_value(default)})
    environment = {**others, variable_name(name): text}
    loaded = load_with_origins(path, environment)
    assert (get_value(loaded.settings, name), loaded.origins[name]) == (value, variable_name(name))

    environment[variable_name(name)] = dump_value(default)
    loaded = load_with_origins(path, environment, {name: value})
    assert (get_value(loaded.settings, name), loaded.origins[name]) == (value, "--set")


@pytest.mark.checklist("K1")
def test_errors_name_file_line_key_and_remedy(tmp_path: Path) -> None:
    text = """\
experience:
  collection:
    enabled: 1
    buffer_sise: 5
    buffer_size: "10"
  storage: [s3]
  games:
    height: [5, 4.0]
    policies: random
    policy_version: 1.10
    players: null
  log:
    durability: always
  rewards:
    win_game: 010
    city_lost: .inf
other: 1
"""
    assert faults(tmp_path, text) == [
        "experience.yaml:3: collection.enabled: expected true or false, got 1",
        "experience.yaml:4: collection.buffer_sise: unknown key: did you mean buffer_size?",
        "experience.yaml:5: collection.buffer_size: expected an integer from 1 to 1099511627776, got '10': remove the quotes",
        "experience.yaml:6: storage: expected a mapping with keys among enabled, type, naming, max_file_bytes, "
        "max_file_seconds, keep_bytes, keep_seconds, min_free_bytes, when_full, s3, file, got a list: write key: value "
        "below it",
        "experience.yaml:8: games.height: expected an integer from 4 to 64 or a list [minimum, maximum], each an integer "
        "from 4 to 64, got [5, 4.0]",
        "experience.yaml:9: games.policies: expected a list of at least one text, got 'random': write a list, [random]",
        "experience.yaml:10: games.policy_version: expected text or null, got 1.10: put it in quotes",
        "experience.yaml:11: games.players: expected an integer from 2 to 16, got null: give a value, or remove the key",
        "experience.yaml:13: log.durability: expected one of commit, normal, got 'always'",
        "experience.yaml:15: rewards.win_game: expected an unambiguous value, got 010: "
        'write a plain decimal number, or "010" for text',
        "experience.yaml:16: rewards.city_lost: expected a finite number, got .inf",
        "experience.yaml:17: other: expected only experience at this level: move it below experience, or delete it",
    ]


@pytest.mark.checklist("K11")
def test_errors_name_variables_and_options(tmp_path: Path) -> None:
    environment = {
        "GENERALS_ENV_COLLECTION__BUFFER_SIZ": "5",
        "GENERALS_ENV_BUFFER": "5",
        "GENERALS_ENV_GAMES__SEED": "[1",
        "GENERALS_ENV_GAMES__FOG": "yes",
        "GENERALS_ENV_games__width": "5",
    }
    assert faults(tmp_path, "", environment, **{"games.players": "2", "games.wide": 3, "x": {}}) == [
        "--set: games.wide: unknown key: did you mean games.width?",
        "--set: x: unknown key: expected section.key, with a key of generals-env config show",
        "GENERALS_ENV_COLLECTION__BUFFER_SIZ: unknown variable: did you mean GENERALS_ENV_COLLECTION__BUFFER_SIZE?",
        "GENERALS_ENV_BUFFER: unknown variable: expected GENERALS_ENV_SECTION__KEY with a key of generals-env config show",
        "GENERALS_ENV_GAMES__SEED: games.seed: expected YAML, got an error: expected ',' or ']', but got '<stream end>' "
        "(while parsing a flow sequence): correct this line or the one before",
        'GENERALS_ENV_GAMES__FOG: games.fog: expected an unambiguous value, got yes: write true or false, or "yes" for text',
        "GENERALS_ENV_games__width: unknown variable: did you mean GENERALS_ENV_GAMES__WIDTH?",
        "--set: games.players: expected an integer from 2 to 16, got '2': remove the quotes",
    ]
    with pytest.raises(ConfigError, match=r"^--players: games.players: expected an integer from 2 to 16, got 1$"):
        load_settings(None, {}, {"games.players": 1}, {"games.players": "--players"})


def test_environment_ignores_other_variables() -> None:
    others = {
        "PATH": "/bin",
        "GENERALS_ENV_KERNELS": "/kernels",
        "GENERALS_ENV_COMPILATION_SHOWN": "1",
        "GENERALS_ENV_TOKEN": "hunter2",
        "GENERALS_ENV_SERVICE_HOST": "10.0.0.1",  # Kubernetes sets these for a service generals-env
        "GENERALS_ENV_SERVICE_PORT_GRPC": "50051",
        "GENERALS_ENV_PORT": "tcp://10.0.0.1:50051",
        "GENERALS_ENV_COLLECTOR_PORT_50051_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(None, others) == Settings()


def test_variables_that_the_package_reads_are_no_errors() -> None:
    sources = [path for folder in ("generals_env", "recorders") for path in (ROOT / folder).rglob("*.py")]
    names = {name for path in sources for name in re.findall(r"\bGENERALS_ENV_[A-Z]+(?:_[A-Z]+)*\b", path.read_text("utf-8"))}
    assert {"GENERALS_ENV_KERNELS", "GENERALS_ENV_TOKEN"} <= names
    names -= {"GENERALS_ENV_CONFIG", "GENERALS_ENV_SECTION", "GENERALS_ENV_COLLECTION", "GENERALS_ENV_TRAINING"}
    assert load_settings(None, dict.fromkeys(names, "a")) == Settings()


def test_variable_of_the_token_may_have_any_name(tmp_path: Path) -> None:
    token, name = "GENERALS_ENV_STREAM_TOKEN", "streaming.token_variable"
    environment = {token: "hunter2"}
    assert faults(tmp_path, "", environment)[0].startswith(f"{token}: expected no secret here: ")
    assert get_value(load(tmp_path, f"streaming: {{token_variable: {token}}}", environment), name) == token
    assert get_value(load(tmp_path, "", environment, **{name: token}), name) == token
    assert get_value(load(tmp_path, "", {**environment, variable_name(name): token}), name) == token


def test_cross_checks_are_limited_to_the_sections_of_a_command() -> None:
    overrides = {"games.policies": ["model.pt"], "training.gamma": 0.5}
    assert load_settings(None, {}, overrides, sections=("training",)).training.gamma == 0.5
    with pytest.raises(ConfigError, match=r"games\.policies: expected one of random, expander"):
        load_settings(None, {}, overrides, sections=("games",))
    with pytest.raises(ConfigError, match=r"games\.players: expected an integer"):  # types are checked in all sections
        load_settings(None, {}, {"games.players": 1}, sections=("training",))


def test_environment_takes_text_without_quotes_and_lists() -> None:
    settings = load_settings(
        None,
        {
            "GENERALS_ENV_GAMES__POLICY_VERSION": "1.10",
            "GENERALS_ENV_LOG__DIRECTORY": "C:\\runs: a #1",
            "GENERALS_ENV_STORAGE__S3__PREFIX": '"null"',
            "GENERALS_ENV_STREAMING__TOKEN_VARIABLE": "",
            "GENERALS_ENV_GAMES__POLICIES": "[random, expander]",
            "GENERALS_ENV_GAMES__WIDTH": "[10, 12]",
        },
    )
    assert (settings.games.policy_version, settings.log.directory) == ("1.10", "C:\\runs: a #1")
    assert (settings.storage.s3.prefix, settings.streaming.token_variable) == ("null", None)
    assert (settings.games.policies, settings.games.width) == (("random", "expander"), (10, 12))


@pytest.mark.checklist("K11")
def test_config_variable_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("games: {players: 3}\n")
    assert load_settings(None, {"GENERALS_ENV_CONFIG": str(path)}).games.players == 3
    assert load_settings(None, {"GENERALS_ENV_CONFIG": ""}) == Settings()
    with pytest.raises(ConfigError, match="expected a file of settings, got No such file or directory: pass another path"):
        load_settings(None, {"GENERALS_ENV_CONFIG": str(tmp_path / "b.yaml")})
    with pytest.raises(ConfigError, match="expected a file of settings, got Is a directory"):
        load_settings(tmp_path, {})


@pytest.mark.checklist("K7")
@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("streaming.token", "streaming.token_variable"),
        ("streaming.password", "streaming.token_variable"),
        ("storage.s3.access_key", "AWS_ACCESS_KEY_ID"),
        ("storage.s3.aws_access_key_id", "AWS_ACCESS_KEY_ID"),
        ("storage.s3.secret_key", "AWS_SECRET_ACCESS_KEY"),
        ("storage.s3.aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("storage.s3.session_token", "AWS_SESSION_TOKEN"),
        ("metrics.password", "an environment variable"),
    ],
)
def test_secrets_are_refused_and_never_shown(tmp_path: Path, key: str, variable: str) -> None:
    path = tmp_path / "experience.yaml"
    write_keys(path, {key: "hunter2"})
    environment = {variable_name(key): "hunter2"}
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environment, {key: "hunter2"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "expected no secret here: remove it, and set " in line
        assert variable in line
        assert "hunter2" not in line


def test_secrets_in_other_keys_are_not_shown(tmp_path: Path) -> None:
    text = "streaming: {token_variable: hunter-2}\nstorage: {s3: {endpoint: 'http://me:hunter-2@host'}}\n"
    assert faults(tmp_path, text) == [
        "experience.yaml:1: streaming.token_variable: expected the name of an environment variable, such as STREAM_TOKEN, "
        "got another text",
        "experience.yaml:2: storage.s3.endpoint: expected a URL without user and password: "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    ]


CROSS_CHECKS = {
    "games: {policies: [random, expander], players: 3}": "games.policies: expected one policy or 3, one for each player, got 2",
    "games: {policies: [expand]}": f"games.policies: expected one of {POLICY_NAMES}, trained or the path of a checkpoint, "
    "got 'expand': correct the name, or write the checkpoint with generals-env train",
    "games: {height: [9, 8]}": "games.height: expected (minimum, maximum), got (9, 8)",
    "games: {mountain_density: [0.2, 0.1]}": "games.mountain_density: expected (minimum, maximum), got (0.2, 0.1)",
    "games: {city_density: 0.5}": "games.city_density: expected a share from 0 to 0.2, got 0.5",
    "games: {rules: v2}": "games.rules: expected 'live', 'competition' or 'v3' to 'v18', got 'v2'",
    "games: {teams: [1, 1]}": "games.teams: expected at least two teams, got (1, 1): use different numbers, or None",
    "games: {modifiers: [toruss]}": "games.modifiers: expected names among leapfrog, defenseless, torus, slippery, "
    "got ('toruss',)",
    "games: {width: 4, height: 4, players: 3}": "games.players: expected at most one for every 8 tiles, got 3 on a board of "
    "4x4: use fewer players or a larger board",
    "training: {capacity: 10}": "training.min_size: expected an integer from 1 to 10, got 10000",
    "compression: {level: 5, max_level: 4}": "compression.max_level: expected at least level, 5, got 4",
    "compression: {low_cpu: 0.9}": "compression.low_cpu: expected less than high_cpu, 0.85, got 0.9",
    "streaming: {key: a}": "streaming.key: expected certificate, too, got only key: set both, or neither",
    "streaming: {certificate: a}": "streaming.certificate: expected key, too, got only certificate: set both, or neither",
    "streaming: {client_ca: a}": "streaming.client_ca: expected certificate and key, too, got only client_ca: "
    "set all three, or none",
    "streaming: {address: '0.0.0.0:1'}": "streaming.address: expected localhost, 127.0.0.1 or [::1] as host, got '0.0.0.0:1': "
    "set certificate and key for TLS",
    "streaming: {address: '50051'}": "streaming.address: expected host:port, got '50051': write one like 127.0.0.1:50051",
    "metrics: {address: '::1:9090'}": "metrics.address: expected host:port, got '::1:9090': write one like 127.0.0.1:9090",
    "metrics: {address: 'a:65536'}": "metrics.address: expected host:port, got 'a:65536': write one like 127.0.0.1:9090",
    "metrics: {address: '127.0.0.1:50051'}": "metrics.address: expected another port than streaming.address, "
    "got '127.0.0.1:50051' for both",
    "debug: {address: '10.0.0.1:6060'}": "debug.address: expected localhost, 127.0.0.1 or [::1] as host, "
    "got '10.0.0.1:6060': it shows the memory of the process",
    "storage: {type: s3, when_full: delete_oldest}": "storage.when_full: expected raise or drop for type s3, "
    "got delete_oldest: a bucket has no free space to watch",
    "storage: {s3: {endpoint: 'localhost:9000'}}": "storage.s3.endpoint: expected a URL, got 'localhost:9000': "
    "write one like http://127.0.0.1:9000",
}


@pytest.mark.checklist("K1")
@pytest.mark.parametrize("text", CROSS_CHECKS)
def test_keys_are_compared_with_each_other(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text) == [f"experience.yaml:1: {CROSS_CHECKS[text]}"]


def test_checkpoint_file_is_a_policy(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    checkpoint.touch()
    settings = load_settings(None, {}, {"games.policies": [str(checkpoint)], "games.players": 3})
    assert player_policies(settings.games) == (str(checkpoint),) * 3


@pytest.mark.checklist("F2", "K9")
def test_settings_become_the_options_of_the_package(tmp_path: Path) -> None:
    default = Settings()
    assert reward_config(default.rewards) == RewardConfig()
    assert trainer_config(default.training) == TrainerConfig()
    assert game_config(default.games, default.rewards) == GameConfig()
    values = {
        name: sample(name)
        for name in KEYS
        if name.startswith(("games.", "rewards.", "training."))
        and name not in ("games.parallel", "games.players", "games.threads")
    }
    changed = load_settings(None, {}, values)
    for config, built in (
        (changed.rewards, reward_config(changed.rewards)),
        (changed.training, trainer_config(changed.training)),
        (changed.games, game_config(changed.games, changed.rewards)),
    ):
        shared = set(type(config).model_fields) & set(built.__dataclass_fields__)  # type: ignore[attr-defined]
        assert len(shared) >= 11
        for name in shared:
            assert getattr(built, name) == getattr(config, name)
    assert set(RewardConfig.__dataclass_fields__) == set(type(changed.rewards).model_fields)
    assert set(TrainerConfig.__dataclass_fields__) == set(type(changed.training).model_fields)


def test_rules_of_competition_bring_their_defaults(tmp_path: Path) -> None:
    games = load(tmp_path, "games: {rules: competition, width: 19}").games
    assert (games.height, games.width, games.max_turns, games.mountain_density) == ((18, 21), 19, 1200, (0.24, 0.26))
    assert game_config(games, Rewards()).shape == (21, 19)


@pytest.mark.checklist("K10")
@pytest.mark.parametrize("name", KEYS)
def test_apply_live_takes_over_exactly_the_live_keys(name: str) -> None:
    value = {name: sample(name), **COMPANIONS.get(name, {})}
    old, new = Settings(), load_settings(None, {}, value)
    applied = apply_live(old, new)
    assert set(changed_keys(old, new)) == set(value)
    assert set(changed_keys(old, applied)) == set(value) & live_keys()
    assert set(changed_keys(applied, new)) == set(value) - live_keys()
    assert type(applied) is Settings


@pytest.mark.checklist("K10")
def test_page_lists_all_keys_as_the_models_define_them() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").partition("## All keys")[2]
    expected = [
        f"| `{key.name}` | `{dump_value(key.default)}` | {'live' if key.live else 'restart'} | {key.description} |"
        for key in KEYS.values()
    ]
    assert re.findall(r"^\| `.*", page, re.MULTILINE) == expected, "\n".join(expected)


def test_missing_library_is_one_line_with_the_command() -> None:
    code = "import sys; sys.modules[{!r}] = None; import generals_env.operations.settings.{}"
    for library, module, package in (
        ("pydantic", "models", "pydantic"),
        ("yaml", "load", "pyyaml"),
        ("watchfiles", "watcher", "watchfiles"),
    ):
        done = subprocess.run([sys.executable, "-c", code.format(library, module)], capture_output=True, text=True, check=False)
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(
            rf'ImportError: settings: expected {package}, got .*: pip install "generals_env\[settings\]"', last
        ), done.stderr
