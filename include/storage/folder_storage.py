"""A storage in a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from include.errors import ConfigurationError, DatasetError
from include.rights import Rights, folder_rights
from include.storage.asset_storage import dataset_folder


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """A storage in a folder that the workers have mounted."""

    root: Path

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset, as :meth:`AssetStorage.remove` says."""
        folder = self.root / dataset_folder(dataset)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DatasetError(f"its files could not be removed: {error}") from error
        return True

    def rights(self) -> Rights:
        """Try the folder, as :meth:`AssetStorage.rights` says, with a file that has no name."""
        if not self.root.is_dir():
            raise ConfigurationError(f"There is no folder {self.root}: mount it where the workers run.")
        return folder_rights(self.root)
