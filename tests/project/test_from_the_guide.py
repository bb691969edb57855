"""Compares docs/from-the-guide.md with the names of the guide, and looks up the names of this package in it."""

from __future__ import annotations

import importlib
import re

import pytest
from support.paths import ROOT

from generals_env import recorders
from generals_env.operations.settings.models import Settings

#: Every name of the guide. The guide itself is not part of the repository.
GUIDE = {
    "types": """
        Action Collector CompressedCollector Config ConfigManager DiskBuffer DistributedTrainer Engine Experience
        ExperienceCollector ExperienceConsumer ExperienceService ExperienceService_StreamExperiencesServer BufferManager
        GameState HybridBuffer IndexFile MultiWriter NPZ Parquet PooledSerializer PrioritizedReplayBuffer RingBuffer S3Writer
        Serializer SimpleCollector StateTransition StreamExperiencesRequest TFRecord TFRecordWriter TensorBuffer TensorState
        TimePartitioner UnimplementedExperienceServiceServer Writer
    """,
    "functions": """
        AddExperience CalculateReward Close CompressExperiences GetExperiences GetWinner IsGameOver NewExperienceBuffer
        NewPooledSerializer NewSerializer NewSimpleCollector OnBatchStateTransition OnGameEnd OnStateTransition Release
        SetVisible SetVisibleTo StateToTensor StateToTensorPooled Step StreamExperiences ValidateExperience Watch Write
        WriteWithRetry _consume_experiences _proto_to_numpy calculateSize collect compute_loss consume_n_experiences
        createTestGameState generateTestExperience generateTestExperiences generate_random_state loadConfig onUpdate
        processTransition sample stream_experiences train
    """,
    "fields": """
        Armies Army Board GameOver T TileNormal TileTypeEmpty Tiles Winner action action_mask backoff batch_size bucket buffer
        bufferSize capacity channel client compressed compressor consumer data disk done experience_server experiences
        experiencesCollected file follow game_ids index maxSize memory model next_state optimizer partitioner player_ids
        prefix replay_buffer reward rewardHistogram server_address size state stub tensorPool threshold writers
    """,
    "constants": """
        ChannelCities ChannelEnemyArmies ChannelEnemyTerritory ChannelFog ChannelMountains ChannelNeutralTerritory
        ChannelOwnArmies ChannelOwnTerritory ChannelVisible MaxActions NumChannels
    """,
    "settings": """
        collection.enabled collection.buffer_size rewards.city_captured rewards.city_lost rewards.lose_game rewards.win_game
        storage.enabled storage.file.directory storage.file.format storage.s3.bucket storage.s3.prefix storage.s3.region
        storage.type streaming.batch_size streaming.batch_timeout_ms streaming.compression streaming.max_connections
        streaming.max_message_size
    """,
    "metrics": """
        buffer_id experience_buffer_size experience_buffer_utilization experience_rewards experiences_collected_total game_id
        player_id
    """,
    "files": """
        _index.json config/experience.yaml experience-service-hpa experience_pb2 experience_pb2_grpc
        game_abc123_0000.tfrecord game-server generals_pb internal/experience/bench_test.go internal/experience/buffer.go
        internal/experience/collector.go internal/experience/collector_simple.go internal/experience/config.go
        internal/experience/integration_test.go internal/experience/memory_test.go internal/experience/metrics.go
        internal/experience/rewards.go internal/experience/rewards_test.go internal/experience/serializer.go
        internal/experience/serializer_test.go internal/experience/writer.go internal/game/engine.go
        internal/game/experience_collector.go internal/grpc/gameserver/experience_service.go
        kubernetes/experience-service.yaml proto/experience/v1/experience.proto
        python/generals_agent/experience_consumer.py python/generals_agent/trainer.py
        tests/load_test_experience_streaming.py year=2024/month=01/day=15/hour=14
    """,
    "tests": """
        BenchmarkExperienceCompression BenchmarkMemoryPooling BenchmarkStateToTensor TestBufferMemoryUsage
        TestEndToEndExperienceCollection TestRewardCalculation TestSimpleCollector_OnStateTransition TestStateToTensor
        WithPooling WithoutPooling test_concurrent_consumers test_experience_throughput
    """,
}

#: Commands of the guide, and its list of future enhancements.
PHRASES = (
    "curl -s localhost:9090/metrics",
    "watch -n 1",
    "grpcurl -plaintext localhost:50051",
    "generals.experience.v1.ExperienceService/StreamExperiences",
    "go tool pprof http://localhost:6060/debug/pprof/heap",
    "curl http://localhost:6060/debug/pprof/goroutine?debug=2",
    "go test -bench=BenchmarkStateToTensor -cpuprofile=cpu.prof",
    "go tool pprof cpu.prof",
    "Prioritized Experience Replay",
    "Distributed Experience Buffer",
    "Experience Augmentation",
    "Curriculum Learning",
    "Multi-Agent Experience Sharing",
    "Experience Deduplication",
    "Adaptive Compression",
)


def rows() -> list[list[str]]:
    """Return the cells of all rows of the page's tables, without headings."""
    text = (ROOT / "docs" / "from-the-guide.md").read_text()
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" |") for cell in cells] for cells in lines if cells[0] != "guide"]


def test_page_has_every_name_of_the_guide() -> None:
    cells = [cells[0] for cells in rows()]
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    expected = {name for names in GUIDE.values() for name in names.split()}
    assert expected - named == set()
    assert len(expected) > 190
    missing = [phrase for phrase in PHRASES if phrase not in named and phrase not in cells]
    assert missing == []
    assert named - expected - set(PHRASES) == set()  # every name of the page is one of the guide


def test_page_names_existing_objects_and_files() -> None:
    names = {name for cells in rows() for cell in cells[1:2] for name in re.findall(r"`([^`]+)`", cell)}
    objects = files = 0
    for name in names:
        path = name.partition("(")[0]
        if re.fullmatch(r"[\w/]+(\.py|\.proto|\.yaml|/)", name):
            files += 1
            assert (ROOT / name).exists(), name
        elif path.startswith("generals_env."):
            objects += 1
            look_up(path)
        elif path.partition(".")[0] in recorders.__all__:
            objects += 1
            look_up(f"generals_env.recorders.{path}")
    assert files > 20
    assert objects > 35


def look_up(path: str) -> None:
    """Import the object with a dotted path; fields of data classes have no value in the class."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return
            found = getattr(found, part)
        return
    pytest.fail(f"{path} cannot be imported")


def test_settings_of_the_guide_exist() -> None:
    for name in GUIDE["settings"].split():
        found = Settings().model_dump()
        for part in name.split("."):
            assert part in found, name
            found = found[part]
