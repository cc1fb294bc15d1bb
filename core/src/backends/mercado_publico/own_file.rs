//! Files that are written to only if they are what their path says: never through a link, and never in a folder where
//! somebody else could exchange them.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Opens a file for reading and writing, or creates it with its folder. Its content stays.
///
/// # Errors
/// `PermissionDenied` for a link, for anything but a file, and in a folder that belongs to another user.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
        check_folder(&std::fs::metadata(folder)?)?;
    }
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options
    };
    // A new file is never made through a link.
    let file = match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_file(&std::fs::symlink_metadata(path)?)?;
            options().open(path)?
        }
        created => created?,
    };
    check_same(&file.metadata()?, &std::fs::symlink_metadata(path)?)?;
    Ok(file)
}

/// Writes a file as a whole.
///
/// # Errors
/// As [`open`].
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = open(path)?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

/// Whether there is a file that is no link.
pub(super) fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| check_file(&found).is_ok())
}

fn check_file(found: &Metadata) -> io::Result<()> {
    if found.is_symlink() {
        return Err(refused("it is a link"));
    }
    if !found.is_file() {
        return Err(refused("it is not a file"));
    }
    Ok(())
}

#[cfg(unix)]
fn check_same(opened: &Metadata, found: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    check_file(found)?;
    // It was exchanged meanwhile, or has a second name elsewhere.
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) || opened.nlink() != 1 {
        return Err(refused("it is a link"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_same(_: &Metadata, found: &Metadata) -> io::Result<()> {
    check_file(found)
}

#[cfg(unix)]
fn check_folder(folder: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match own_user().is_some_and(|own| is_foreign(folder.uid(), own)) {
        true => Err(refused("its folder belongs to another user")),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_folder(_: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Folders of the administrator are everybody's. The administrator may work in any folder, as in a container whose
/// volume belongs to a user.
#[cfg(unix)]
fn is_foreign(owner: u32, own: u32) -> bool {
    owner != own && owner != 0 && own != 0
}

/// The user of this process, as the owner of a file that it makes.
#[cfg(unix)]
fn own_user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    static OWN: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    *OWN.get_or_init(|| {
        if let Ok(process) = std::fs::metadata("/proc/self") {
            return Some(process.uid());
        }
        let name = format!("ayni-{}-{}", std::process::id(), crate::procure::store::unique());
        let path = std::env::temp_dir().join(name);
        let made =
            OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| file.metadata());
        drop(std::fs::remove_file(&path));
        made.ok().map(|made| made.uid())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_and_its_target_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let (stranger, missing) = (folder.path().join("stranger"), folder.path().join("missing"));
        std::fs::write(&stranger, "private").expect("written");
        let link = folder.path().join("a.lock");
        let make_links: [&dyn Fn(); 3] = [
            &|| std::os::unix::fs::symlink(&stranger, &link).expect("linked"),
            &|| std::os::unix::fs::symlink(&missing, &link).expect("linked"),
            &|| std::fs::hard_link(&stranger, &link).expect("linked"),
        ];
        for make_link in make_links {
            make_link();
            assert!(write(&link, "overwritten").expect_err("a link").to_string().contains("link"));
            std::fs::remove_file(&link).expect("removed");
        }
        assert_eq!(std::fs::read_to_string(&stranger).expect("read"), "private");
        assert!(!missing.exists());
    }

    #[test]
    fn files_of_ones_own_are_written_and_folders_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deeper").join("a.lock");
        for text in ["first", "2nd"] {
            write(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        assert!(open(folder.path().join("deeper").as_path()).is_err());
        assert!(is_file(&path) && !is_file(folder.path()));
    }

    #[test]
    fn a_folder_of_another_user_is_refused_unless_it_is_the_administrators() {
        let [root, me, other] = [0, 1000, 1001];
        assert!(is_foreign(other, me));
        for (owner, own) in [(me, me), (root, me), (me, root), (root, root)] {
            assert!(!is_foreign(owner, own), "{owner} {own}");
        }
    }
}
