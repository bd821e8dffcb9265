//! The XML that libvirt speaks: what a domain has, what a backup and a checkpoint are to be.
//!
//! Format: libvirt's `formatdomain`, `formatbackup` and `formatcheckpoint`. Promises: names and paths are escaped; of what
//! libvirt tells, only what is named here is looked at.

#[cfg(test)]
use super::place::DiskPlace;
use super::place::Place;
use crate::source::block::Method;
use roxmltree::{Document, Node};
use std::fmt::Write;
use std::path::Path;

/// What the bitmap of a pull backup is called on its export: `qemu:dirty-bitmap:` and this.
pub(in crate::jobs::take) const EXPORTED_BITMAP: &str = "dirty";

/// A disk of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DomainDisk {
    /// What libvirt calls it: `vda`.
    pub(super) target: String,
    /// The format of its image: `qcow2`, `raw`.
    pub(super) format: String,
}

impl DomainDisk {
    /// Tells whether QEMU can keep bitmaps in its image: in a qcow2 image only.
    pub(super) fn can_count(&self) -> bool {
        self.format == "qcow2"
    }
}

/// A backup that is to be begun.
pub(super) struct Wanted<'a> {
    pub(super) method: Method,
    /// All disks of the domain: those that are not in `place` are left out by name.
    pub(super) disks: &'a [DomainDisk],
    /// The checkpoint that it counts from; none: everything.
    pub(super) since: Option<&'a str>,
    pub(super) place: &'a Place,
}

/// Returns the disks that a domain has, without its CD drives and floppies.
pub(super) fn disks(domain: &str) -> Result<Vec<DomainDisk>, roxmltree::Error> {
    let document = Document::parse(domain)?;
    let is_disk = |node: &Node<'_, '_>| {
        node.has_tag_name("disk")
            && node.parent().is_some_and(|parent| parent.has_tag_name("devices"))
            && matches!(node.attribute("device"), None | Some("disk"))
    };
    let disks = document.descendants().filter(is_disk).filter_map(|disk| {
        let target = child(disk, "target")?.attribute("dev")?.to_owned();
        let format = child(disk, "driver").and_then(|driver| driver.attribute("type")).unwrap_or("raw").to_owned();
        Some(DomainDisk { target, format })
    });
    Ok(disks.collect())
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Returns where the server of a running backup listens, or the files that it writes.
pub(super) fn places(backup: &str) -> Result<Vec<String>, roxmltree::Error> {
    let document = Document::parse(backup)?;
    let place = |node: Node<'_, '_>| match node.tag_name().name() {
        "server" => node.attribute("socket").map(str::to_owned),
        "target" => node.attribute("file").map(str::to_owned),
        _ => None,
    };
    Ok(document.descendants().filter_map(place).collect())
}

/// Returns the description of a backup.
pub(super) fn backup(wanted: &Wanted<'_>) -> String {
    let mut out = String::from("<domainbackup mode='");
    out.push_str(match wanted.method {
        Method::Pull => "pull'>",
        Method::Push => "push'>",
    });
    if let Some(since) = wanted.since {
        write!(out, "<incremental>{}</incremental>", escape(since)).expect("text takes text");
    }
    let path = |path: &Path| escape(&path.to_string_lossy());
    if wanted.method == Method::Pull {
        write!(out, "<server transport='unix' socket='{}'/>", path(&wanted.place.socket)).expect("text takes text");
    }
    out.push_str("<disks>");
    for disk in wanted.disks {
        let name = escape(&disk.target);
        let Some(place) = wanted.place.disks.iter().find(|place| place.disk == disk.target) else {
            write!(out, "<disk name='{name}' backup='no'/>").expect("text takes text");
            continue;
        };
        let is_since = wanted.since.is_some() && !place.is_whole;
        let mode = if wanted.since.is_some() && place.is_whole { " backupmode='full'" } else { "" };
        let written = match wanted.method {
            Method::Pull => {
                let bitmap = if is_since { format!(" exportbitmap='{EXPORTED_BITMAP}'") } else { String::new() };
                write!(
                    out,
                    "<disk name='{name}' backup='yes' type='file'{mode} exportname='{name}'{bitmap}>\
                     <driver type='qcow2'/><scratch file='{}'/></disk>",
                    path(&place.scratch)
                )
            }
            Method::Push => write!(
                out,
                "<disk name='{name}' backup='yes' type='file'{mode}><driver type='qcow2'/><target file='{}'/></disk>",
                path(&place.target)
            ),
        };
        written.expect("text takes text");
    }
    out.push_str("</disks></domainbackup>\n");
    out
}

/// Returns the description of a checkpoint of the disks in `place` that can have one.
pub(super) fn checkpoint(name: &str, place: &Place, disks: &[DomainDisk]) -> String {
    let mut out = format!("<domaincheckpoint><name>{}</name><disks>", escape(name));
    for one in disks {
        let is_taken = place.disks.iter().any(|place| place.disk == one.target);
        let kind = if is_taken && one.can_count() { "bitmap" } else { "no" };
        write!(out, "<disk name='{}' checkpoint='{kind}'/>", escape(&one.target)).expect("text takes text");
    }
    out.push_str("</disks></domaincheckpoint>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "<domain type='qemu'><name>vm1</name><devices>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.qcow2'/>
          <backingStore type='file'><format type='raw'/></backingStore><target dev='vda' bus='virtio'/></disk>
        <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/></disk>
        <disk type='block'><source dev='/dev/x'/><target dev='vdb'/></disk></devices></domain>";

    #[test]
    fn a_domain_tells_its_disks() {
        let disk = |target: &str, format: &str| DomainDisk { target: target.to_owned(), format: format.to_owned() };
        assert_eq!(disks(DOMAIN).unwrap(), [disk("vda", "qcow2"), disk("vdb", "raw")]);
        assert!(disks("<domain>").is_err());
    }

    #[test]
    fn a_backup_is_of_the_disks_that_are_taken_and_names_are_escaped() {
        let disks = disks(DOMAIN).unwrap();
        let disk = |disk: &str, is_whole, name: &str| DiskPlace {
            disk: disk.to_owned(),
            is_whole,
            scratch: format!("/t/{name}").into(),
            target: format!("/i/{disk}.qcow2").into(),
        };
        let place = Place { socket: "/t/s".into(), disks: vec![disk("vda", false, "o'k")] };
        let mut wanted = Wanted { method: Method::Pull, disks: &disks, since: Some("a<b"), place: &place };
        let pull = "<domainbackup mode='pull'><incremental>a&lt;b</incremental><server transport='unix' socket='/t/s'/>\
                    <disks><disk name='vda' backup='yes' type='file' exportname='vda' exportbitmap='dirty'>\
                    <driver type='qcow2'/><scratch file='/t/o&apos;k'/></disk><disk name='vdb' backup='no'/></disks></domainbackup>\n";
        assert_eq!(backup(&wanted), pull);
        assert_eq!(places(&backup(&wanted)).unwrap(), ["/t/s"]);
        (wanted.method, wanted.since) = (Method::Push, None);
        let push = "<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'><driver type='qcow2'/>\
                    <target file='/i/vda.qcow2'/></disk><disk name='vdb' backup='no'/></disks></domainbackup>\n";
        assert_eq!(backup(&wanted), push);
        assert_eq!(places(&backup(&wanted)).unwrap(), ["/i/vda.qcow2"]);
        let both = Place { disks: vec![disk("vda", false, "a"), disk("vdb", true, "b")], ..place.clone() };
        let wanted = Wanted { since: Some("c1"), place: &both, ..wanted };
        let push = "<domainbackup mode='push'><incremental>c1</incremental><disks><disk name='vda' backup='yes' type='file'>\
                    <driver type='qcow2'/><target file='/i/vda.qcow2'/></disk><disk name='vdb' backup='yes' type='file' \
                    backupmode='full'><driver type='qcow2'/><target file='/i/vdb.qcow2'/></disk></disks></domainbackup>\n";
        assert_eq!(backup(&wanted), push);
        let made = "<domaincheckpoint><name>c&amp;1</name><disks><disk name='vda' checkpoint='bitmap'/>\
                    <disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>\n";
        assert_eq!(checkpoint("c&1", &place, &disks), made);
        assert_eq!(checkpoint("c&1", &both, &disks), made, "QEMU has no bitmaps in raw images");
    }
}
