//! Names of invented people, public bodies and suppliers, and of products, as Chilean records write them.

/// The regions of Chile, each with an invented commune.
pub(super) const REGIONS: [(&str, &str); 16] = [
    ("Región de Tarapacá ", "Pozo Salitre"),
    ("Región de Antofagasta ", "Puerto Caliche"),
    ("Región de Atacama ", "Villa Copiapina"),
    ("Región de Coquimbo ", "Quebrada Elquina"),
    ("Región de Valparaíso ", "Cerro Alegre del Mar"),
    ("Región del Libertador General Bernardo O´Higgins", "Peñablanca del Sur"),
    ("Región del Maule ", "Villa Ñuñoína"),
    ("Región del Biobío ", "Lota Nueva"),
    ("Región de la Araucanía ", "Pehuén Alto"),
    ("Región de los Lagos ", "Puerto Ñancupel"),
    ("Región Aysén del General Carlos Ibáñez del Campo", "Caleta Huemul"),
    ("Región de Magallanes y de la Antártica", "Puerto Coirón"),
    ("Región Metropolitana de Santiago", "San Matías de Maipo"),
    ("Región de Los Ríos", "Río Bueno Chico"),
    ("Región de Arica y Parinacota", "Valle Azapeño"),
    ("Región del Ñuble", "San Nicolás del Itata"),
];

/// Kinds of public bodies; a commune follows.
pub(super) const BODIES: [&str; 6] = [
    "I MUNICIPALIDAD DE",
    "HOSPITAL BASE DE",
    "SERVICIO DE SALUD",
    "DIRECCIÓN REGIONAL DE VIALIDAD",
    "CORPORACIÓN DE EDUCACIÓN DE",
    "GOBERNACIÓN MARÍTIMA DE",
];

/// The units of a body that buy.
pub(super) const UNITS: [&str; 5] =
    ["Abastecimiento Central", "Unidad de Compras", "Finanzas", "DAEM", "Departamento de Obras"];

/// First words of firms' names.
pub(super) const FIRMS: [&str; 12] = [
    "COMERCIAL LOS ÑIRRES",
    "CONSTRUCTORA PEUMO",
    "DISTRIBUIDORA ARAUCARIA",
    "INSUMOS MÉDICOS COIHUE",
    "TRANSPORTES HUALLE",
    "SERVICIOS INTEGRALES LITRE",
    "INGENIERÍA Y MONTAJES RAULÍ",
    "LIBRERÍA EL COPIHUE",
    "TECNOLOGÍA QUILLAY",
    "ALIMENTOS MAQUI",
    "ASEO INDUSTRIAL BOLDO",
    "FERRETERÍA CANELO",
];

/// Legal forms of firms.
pub(super) const FORMS: [&str; 4] = ["SPA", "LTDA.", "EIRL", "S.A."];

/// Invented persons.
pub(super) const PERSONS: [&str; 6] = [
    "María José Núñez Inventada",
    "Andrés Peña Ficticio",
    "Ximena Muñoz De Prueba",
    "Hernán Güiñez Supuesto",
    "Begoña Ibáñez Imaginaria",
    "Raúl Ñancucheo Ejemplo",
];

/// A product or service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// UNSPSC.
    pub(super) code: u32,
    pub(super) category: &'static str,
    pub(super) name: &'static str,
    /// The words of a title.
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// The unit as quick purchases write it.
    pub(super) short_unit: &'static str,
    /// The usual price of a unit, in pesos.
    pub(super) price: u64,
}

const fn product(
    code: u32,
    category: &'static str,
    name: &'static str,
    title: &'static str,
    units: (&'static str, &'static str),
    price: u64,
) -> Product {
    Product { code, category, name, title, unit: units.0, short_unit: units.1, price }
}

pub(super) const PRODUCTS: [Product; 14] = [
    product(
        41_116_105,
        "Equipamiento de laboratorio / Suministros de laboratorio / Reactivos",
        "Reactivos de análisis químico",
        "Suministro de reactivos de laboratorio",
        ("Caja", "CJ"),
        85_900,
    ),
    product(
        72_141_119,
        "Construcción / Obras civiles / Alcantarillado",
        "Servicios de construcción de alcantarillado",
        "Construcción de colector de aguas lluvias",
        ("Global", "EA"),
        48_000_000,
    ),
    product(
        25_101_703,
        "Vehículos / Vehículos de emergencia / Ambulancias",
        "Ambulancias",
        "Adquisición de ambulancia avanzada",
        ("Unidad", "EA"),
        62_500_000,
    ),
    product(
        42_151_624,
        "Equipamiento médico / Odontología / Insumos",
        "Insumos dentales",
        "Insumos odontológicos",
        ("Unidad", "EA"),
        3_490,
    ),
    product(
        76_111_501,
        "Servicios de limpieza / Aseo de edificios / Aseo general",
        "Servicios de aseo de edificios",
        "SERVICIO DE ASEO Y MANTENCIÓN DE DEPENDENCIAS",
        ("Mes", "MON"),
        2_350_000,
    ),
    product(
        43_211_503,
        "Tecnologías de la información / Computadores / Portátiles",
        "Computadores portátiles",
        "Adquisición de notebooks para docentes",
        ("Unidad", "EA"),
        649_990,
    ),
    product(
        44_121_701,
        "Artículos de oficina / Escritura / Lápices",
        "Lápices de mina",
        "Útiles escolares y de oficina, año lectivo",
        ("Caja", "CJ"),
        4_250,
    ),
    product(
        15_101_506,
        "Combustibles / Petróleo y derivados / Gasolina",
        "Gasolina",
        "Suministro de combustible para la flota",
        ("Litro", "LT"),
        1_289,
    ),
    product(
        50_181_901,
        "Alimentos / Panadería / Pan",
        "Pan fresco",
        "Alimentación para jardines infantiles",
        ("Kilogramo", "KGM"),
        1_990,
    ),
    product(
        72_101_511,
        "Mantención de edificios / Gasfitería / Reparaciones",
        "Servicios de gasfitería",
        "Servicio de gasfitería y reparación de filtraciones",
        ("Global", "EA"),
        380_000,
    ),
    product(
        26_111_701,
        "Energía / Paneles solares / Celdas",
        "Paneles fotovoltaicos",
        "Instalación de paneles fotovoltaicos en escuela rural",
        ("Unidad", "EA"),
        189_000,
    ),
    product(
        81_112_501,
        "Servicios informáticos / Licencias / Arriendo de software",
        "Licencias de programas computacionales",
        "Renovación de licencias de \"ofimática\" & antivirus",
        ("Unidad", "EA"),
        52_700,
    ),
    product(
        78_181_507,
        "Transporte / Mantención de vehículos / Taller",
        "Servicio de mantención de vehículos",
        "MANTENCIÓN DE VEHÍCULOS MUNICIPALES",
        ("Hora", "HUR"),
        24_900,
    ),
    product(
        24_101_501,
        "Agua potable / Distribución / Camiones aljibe",
        "Arriendo de camiones aljibe",
        "Distribución de agua potable en camión aljibe, sector Ñirehuao",
        ("Día", "DAY"),
        165_000,
    ),
];
