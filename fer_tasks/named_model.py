"""--model of the commands: the folder with model.keras and settings.json that a name stands for."""

from pathlib import Path

from fer_tasks.errors import RegistryError
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.run_directory import RunDirectory
from fer_tasks.run_storage import home
from fer_tasks.settings import RunSettings

MODEL_HELP = "a run's folder, `pretrained` (the usual one), or `champion`: the model in use, as `make champion` tells"


def model_folder(name: str) -> Path:
    """Of `pretrained`, `champion`, or a run's folder. The champion is copied out of the registry once, into FER_HOME.

    Raises RegistryError when there is no champion, or when its file or its settings are gone.
    """
    if name == "pretrained":
        return PRETRAINED
    return _champion_folder() if name == "champion" else Path(name)


def _champion_folder() -> Path:
    from fer_tasks.champion_comparison import recorded_settings
    from fer_tasks.registry import champion_in_use

    champion = champion_in_use(RunSettings().registered_model)
    named = f"{champion.registered_model}-{champion.version}-{(champion.model_sha256 or 'unknown')[:16]}"
    folder = RunDirectory(home() / "champions" / named)
    if champion.model_sha256 is None or not folder.settings_json.is_file():
        settings = recorded_settings(champion.load_records())
        if settings is None:
            raise RegistryError(
                f"The registry does not say how version {champion.version} of {champion.registered_model} has its "
                "faces prepared; name the folder of the run that trained it."
            )
        folder.root.mkdir(parents=True, exist_ok=True)
        with folder.replacing(folder.model) as temporary:
            champion.copy_model(temporary)
        folder.save_json(folder.settings_json, settings.to_params())  # last: it says that the copy is whole
    return folder.root
